// Vectors of float32 that are loaded from and stored to float32 and bfloat16 memory.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#else
constexpr int LANES = 4, REGISTERS = 32;
#endif
typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef uint32_t Bits __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef uint16_t Halves __attribute__((vector_size(LANES * sizeof(uint16_t))));
struct bfloat16 {
    uint16_t bits;
};

template <class V, class T>
V read(const T* from, int lanes) {
    V vec = {};
    if (lanes >= LANES)
        std::memcpy(&vec, from, sizeof vec);
    else
        std::memcpy(&vec, from, lanes * sizeof(T));
    return vec;
}

template <class V, class T>
void write(T* to, V vec, int lanes) {
    if (lanes >= LANES)
        std::memcpy(to, &vec, sizeof vec);
    else
        std::memcpy(to, &vec, lanes * sizeof(T));
}

inline Vec load(const float* from, int lanes) { return read<Vec>(from, lanes); }

inline Vec load(const bfloat16* from, int lanes) {
    return (Vec)(__builtin_convertvector(read<Halves>(from, lanes), Bits) << 16);
}

inline void store(float* to, Vec value, int lanes) { write(to, value, lanes); }

inline void store(bfloat16* to, Vec value, int lanes) {  // rounded to nearest even; NaN stays NaN
    const Bits bits = (Bits)value;
    Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    rounded = value == value ? rounded : Bits{} + 0x7fc0;
    write(to, __builtin_convertvector(rounded, Halves), lanes);
}

inline Vec load(const float* from) { return load(from, LANES); }

inline int64_t vectors(int64_t channels) { return (channels + LANES - 1) / LANES; }

// Calls work(channel, lanes) for every vector of channels; lanes are a constant in all but the last, shorter one.
template <class Work>
inline void each_vector(int64_t channels, const Work& work) {
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES) work(c, std::integral_constant<int, LANES>{});
    if (c < channels) work(c, static_cast<int>(channels - c));
}

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// Vectors of float32 that are loaded from and stored to float32 and bfloat16 memory.
#pragma once

#include <omp.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

// A whole vector, or its first `lanes`; the others are zero, and their memory is not touched.
template <class V, class T>
inline V read(const T* from, int lanes) {
    V vec = {};
    if (lanes >= LANES) {
        std::memcpy(&vec, from, sizeof vec);
        return vec;
    }
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    const auto mask = static_cast<__mmask16>((1u << lanes) - 1);
    if constexpr (sizeof(T) == 4) return (V)_mm512_maskz_loadu_epi32(mask, from);
    if constexpr (sizeof(T) == 2) return (V)_mm256_maskz_loadu_epi16(mask, from);
#endif
    std::memcpy(&vec, from, lanes * sizeof(T));
    return vec;
}

template <class V, class T>
inline void write(T* to, V vec, int lanes) {
    if (lanes >= LANES) {
        std::memcpy(to, &vec, sizeof vec);
        return;
    }
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    const auto mask = static_cast<__mmask16>((1u << lanes) - 1);
    if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_epi32(to, mask, (__m512i)vec);
    if constexpr (sizeof(T) == 2) return _mm256_mask_storeu_epi16(to, mask, (__m256i)vec);
#endif
    std::memcpy(to, &vec, lanes * sizeof(T));
}

inline Vec load(const float* from, int lanes) { return read<Vec>(from, lanes); }

inline Vec load(const bfloat16* from, int lanes) {
    const Halves bits = read<Halves>(from, lanes);
#if defined(__AVX512F__)
    return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)bits), 16);  // GCC makes two halves of a conversion
#else
    return (Vec)(__builtin_convertvector(bits, Bits) << 16);
#endif
}

inline void store(float* to, Vec value, int lanes) { write(to, value, lanes); }

inline void store(bfloat16* to, Vec value, int lanes) {  // rounded to nearest even; NaN stays NaN
#if defined(__AVX512BF16__)
    write(to, (Halves)_mm512_cvtneps_pbh((__m512)value), lanes);
#else
    const Bits bits = (Bits)value;
    Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    rounded = value == value ? rounded : Bits{} + 0x7fc0;
    write(to, __builtin_convertvector(rounded, Halves), lanes);
#endif
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

// 2 to the power of x; NaN stays NaN. A polynomial in the distance to the nearest whole number: for float32 Taylor's of
// seven terms, for bfloat16 one of three that is nowhere off by more than 1.1e-4 of the result (fitted on -1/2 to 1/2).
constexpr float TAYLOR[] = {0.693147181f,   0.240226507f,   5.55041087e-2f, 9.61812911e-3f,
                            1.33335581e-3f, 1.54035304e-4f, 1.52527338e-5f};
constexpr float SHORT[] = {0.693282928f, 0.242210961f, 5.50089267e-2f};

template <class T>
inline Vec power_of_two(Vec x) {
    const auto polynomial = [](Vec rest) {
        constexpr bool exact = std::is_same_v<T, float>;
        constexpr int terms = exact ? 7 : 3;
        Vec sum = Vec{} + (exact ? TAYLOR : SHORT)[terms - 1];
#pragma GCC unroll 8
        for (int i = terms - 2; i >= 0; --i) sum = sum * rest + (exact ? TAYLOR : SHORT)[i];
        return sum * rest + 1.0f;
    };
#if defined(__AVX512DQ__)
    const Vec rest = (Vec)_mm512_reduce_ps((__m512)x, 0);
    return (Vec)_mm512_scalef_ps((__m512)polynomial(rest), (__m512)(x - rest));
#else
    x = x < -126 ? Vec{} - 126 : x;  // beyond, the result is that of the ends
    x = x > 126 ? Vec{} + 126 : x;
    const Vec shifter = Vec{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
    const Vec shifted = x + shifter;
    return (Vec)((Bits)polynomial(x - (shifted - shifter)) + ((Bits)shifted << 23));
#endif
}

// 1 / (1 + e^-x), to the precision that values of type T need.
template <class T>
inline Vec sigmoid(Vec x) {
    const Vec denominator = 1.0f + power_of_two<T>(x * -1.44269504f);
#if defined(__AVX512F__)
    if constexpr (!std::is_same_v<T, float>) return (Vec)_mm512_rcp14_ps((__m512)denominator);
#endif
    return 1.0f / denominator;
}

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

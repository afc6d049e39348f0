// Squeeze-and-excite in channels-last memory (images, pixels, channels): the mean of an image's pixels and the product
// of each with the image's gates (images, channels). Sums are float32, in two levels; every thread takes whole images.

#include "vectors.h"

namespace {

constexpr int64_t FLUSH = 256;  // pixels added up before they are added to the rest

struct Maps {
    int64_t images, pixels, channels;
};

template <class Work>
void each_image(const Maps& maps, int threads, const Work& work) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t image = 0; image < maps.images; ++image) work(image);
}

// The sum by channel of value(offset of the pixel's channel in memory, channel, lanes) over an image's pixels, of which
// ROWS are added up in registers: few where several maps are read or written, as memory is slow in many places at once.
template <int ROWS, class Function>
std::vector<float> sum_pixels(const Maps& maps, int64_t image, const Function& value) {
    std::vector<float> sums(vectors(maps.channels) * LANES);
    const int64_t first = image * maps.pixels, last = first + maps.pixels;
    for (int64_t start = first; start < last; start += FLUSH) {
        std::vector<float> part(sums.size());
        const int64_t end = std::min(last, start + FLUSH);
        for (int64_t row = start; row < end; row += ROWS)
            each_vector(maps.channels, [&](int64_t c, auto lanes) {
                Vec sum = load(&part[c]);
                for (int64_t pixel = row; pixel < std::min(end, row + ROWS); ++pixel)
                    sum += value(pixel * maps.channels + c, c, lanes);
                store(&part[c], sum, LANES);
            });
        for (size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
    }
    return sums;
}

template <class T>
void store_scaled(const Maps& maps, int64_t image, const std::vector<float>& sums, float factor, T* to) {
    each_vector(maps.channels, [&](int64_t c, auto lanes) {
        store(to + image * maps.channels + c, load(&sums[c]) * factor, lanes);
    });
}

template <class T>
void mean(const Maps& maps, const T* x, T* y, int threads) {
    each_image(maps, threads, [&](int64_t image) {
        const auto sums =
            sum_pixels<8>(maps, image, [&](int64_t at, int64_t, auto lanes) { return load(x + at, lanes); });
        store_scaled(maps, image, sums, 1.0f / maps.pixels, y);
    });
}

template <class T>
void scale(const Maps& maps, const T* x, const T* gate, T* y, int threads) {
    each_image(maps, threads, [&](int64_t image) {
        for (int64_t pixel = image * maps.pixels; pixel < (image + 1) * maps.pixels; ++pixel)
            each_vector(maps.channels, [&](int64_t c, auto lanes) {
                const int64_t at = pixel * maps.channels + c;
                store(y + at, load(x + at, lanes) * load(gate + image * maps.channels + c, lanes), lanes);
            });
    });
}

template <class T>
void scale_backward(const Maps& maps, const T* x, const T* gate, const T* dy, T* dx, T* dgate, int threads) {
    each_image(maps, threads, [&](int64_t image) {
        const auto sums = sum_pixels<2>(maps, image, [&](int64_t at, int64_t c, auto lanes) {
            const Vec g = load(dy + at, lanes);
            store(dx + at, g * load(gate + image * maps.channels + c, lanes), lanes);
            return g * load(x + at, lanes);
        });
        store_scaled(maps, image, sums, 1.0f, dgate);
    });
}

}  // namespace

// `x` (images, pixels, channels), bfloat16 or float32 -> its mean `y` (images, channels) alike.
extern "C" void squeeze_mean(const Maps* maps, int is_bf16, const void* x, void* y, int threads) {
    if (is_bf16)
        mean(*maps, static_cast<const bfloat16*>(x), static_cast<bfloat16*>(y), threads);
    else
        mean(*maps, static_cast<const float*>(x), static_cast<float*>(y), threads);
}

// `y` = `x` times `gate` (images, channels).
extern "C" void excite(const Maps* maps, int is_bf16, const void* x, const void* gate, void* y, int threads) {
    if (is_bf16)
        scale(*maps, static_cast<const bfloat16*>(x), static_cast<const bfloat16*>(gate), static_cast<bfloat16*>(y),
              threads);
    else
        scale(*maps, static_cast<const float*>(x), static_cast<const float*>(gate), static_cast<float*>(y), threads);
}

// Gradients for `dy` of `excite`'s `y`.
extern "C" void excite_backward(const Maps* maps, int is_bf16, const void* x, const void* gate, const void* dy, void* dx,
                                void* dgate, int threads) {
    if (is_bf16)
        scale_backward(*maps, static_cast<const bfloat16*>(x), static_cast<const bfloat16*>(gate),
                       static_cast<const bfloat16*>(dy), static_cast<bfloat16*>(dx), static_cast<bfloat16*>(dgate),
                       threads);
    else
        scale_backward(*maps, static_cast<const float*>(x), static_cast<const float*>(gate),
                       static_cast<const float*>(dy), static_cast<float*>(dx), static_cast<float*>(dgate), threads);
}

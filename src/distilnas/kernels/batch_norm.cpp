// Batch norm and the activation behind it in channels-last memory (pixels, channels), by the batch's own statistics or,
// without gradient, by given ones.
//
// Forward and backward pass are two runs over memory each (one where statistics are given): sums by channel, then the
// result. Sums are float32 over some
// hundred pixels and double beyond; threads take equal shares of the pixels, so equal thread counts give equal bits.

#include "normalised.h"

namespace {

constexpr int64_t ROWS = 4;      // pixels added up in registers
constexpr int64_t FLUSH = 1024;  // pixels added up in float32

struct Layer {
    int64_t pixels, channels;
    float eps;
    Act act;
};

// Calls work(thread, first, last) for equal shares of `pixels`.
template <class Work>
void share(int64_t pixels, int threads, const Work& work) {
#pragma omp parallel num_threads(threads)
    {
        const int64_t thread = omp_get_thread_num(), team = omp_get_num_threads();
        work(thread, pixels * thread / team, pixels * (thread + 1) / team);
    }
}

struct Pair {
    Vec a, b;
};

// Sums by channel of the pairs that pair(offset of the pixel's channel in memory, channel, lanes) gives: (2, channels).
template <class Function>
std::vector<double> sum_pairs(const Layer& layer, int threads, const Function& pair) {
    const int64_t size = vectors(layer.channels) * LANES;
    std::vector<double> sums(2 * size * threads);
    share(layer.pixels, threads, [&](int64_t thread, int64_t first, int64_t last) {
        double* total = sums.data() + 2 * size * thread;
        for (int64_t start = first; start < last; start += FLUSH) {
            std::vector<float> part(2 * size);
            for (int64_t row = start; row < std::min(last, start + FLUSH); row += ROWS) {
                const int64_t end = std::min({row + ROWS, start + FLUSH, last});
                each_vector(layer.channels, [&](int64_t c, auto lanes) {
                    Vec a = load(&part[c]), b = load(&part[size + c]);
                    for (int64_t pixel = row; pixel < end; ++pixel) {
                        const Pair add = pair(pixel * layer.channels + c, c, lanes);
                        a += add.a;
                        b += add.b;
                    }
                    store(&part[c], a, LANES);
                    store(&part[size + c], b, LANES);
                });
            }
            for (int64_t i = 0; i < 2 * size; ++i) total[i] += part[i];
        }
    });
    for (int64_t i = 2 * size; i < static_cast<int64_t>(sums.size()); ++i) sums[i % (2 * size)] += sums[i];
    sums.resize(2 * size);
    return sums;
}

// Stores what value(offset, channel, lanes) gives for every pixel and channel to `to`.
template <class T, class Function>
void fill(const Layer& layer, int threads, T* to, const Function& value) {
    share(layer.pixels, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t pixel = first; pixel < last; ++pixel)
            each_vector(layer.channels, [&](int64_t c, auto lanes) {
                const int64_t at = pixel * layer.channels + c;
                store(to + at, value(at, c, lanes), lanes);
            });
    });
}

template <Act ACT, class T>
void apply(const Layer& layer, const T* x, const float* weight, const float* bias, const float* mean, const float* var,
           T* y, int threads) {
    const Normalised normalised(layer.channels, layer.eps, weight, bias, mean, var);
    fill(layer, threads, y,
         [&](int64_t at, int64_t c, auto lanes) { return activated<ACT, T>(normalised(load(x + at, lanes), c)); });
}

template <Act ACT, class T>
void forward(const Layer& layer, const T* x, const float* weight, const float* bias, T* y, float* mean, float* var,
             int threads) {
    const int64_t size = vectors(layer.channels) * LANES;
    Channels first(size);  // sums of squares about a value of the batch do not cancel
    for (int64_t c = 0; c < layer.channels; c += LANES) store(&first[c], load(x + c, layer.channels - c), LANES);
    const auto sums = sum_pairs(layer, threads, [&](int64_t at, int64_t c, auto lanes) {
        const Vec d = load(x + at, lanes) - load(&first[c]);
        return Pair{d, d * d};
    });
    for (int64_t c = 0; c < layer.channels; ++c) {
        const double shift = sums[c] / layer.pixels;
        mean[c] = first[c] + shift;
        var[c] = std::max(0.0, sums[size + c] / layer.pixels - shift * shift);
    }
    apply<ACT>(layer, x, weight, bias, mean, var, y, threads);
}

template <Act ACT, class T>
void backward(const Layer& layer, const T* x, const T* dy, const float* weight, const float* bias, const float* mean,
              const float* var, T* dx, float* dweight, float* dbias, int threads) {
    const int64_t size = vectors(layer.channels) * LANES;
    const Normalised normalised(layer.channels, layer.eps, weight, bias, mean, var);
    const Channels means = padded(mean, layer.channels);
    const auto gradient = [&](int64_t at, int64_t c, auto lanes, Vec value) {
        return before_act<ACT, T>(normalised(value, c), load(dy + at, lanes));
    };
    const auto sums = sum_pairs(layer, threads, [&](int64_t at, int64_t c, auto lanes) {
        const Vec value = load(x + at, lanes), g = gradient(at, c, lanes, value);
        return Pair{g, g * (value - load(&means[c]))};
    });
    Channels slope(size), constant(size);  // dx is the gradient scaled and a linear function of x
    for (int64_t c = 0; c < layer.channels; ++c) {
        const double inverse = 1 / std::sqrt(static_cast<double>(var[c]) + layer.eps);
        dbias[c] = sums[c];
        dweight[c] = sums[size + c] * inverse;
        slope[c] = -sums[size + c] * inverse * inverse / layer.pixels * normalised.scale[c];
        constant[c] = -sums[c] / layer.pixels * normalised.scale[c] - mean[c] * slope[c];
    }
    fill(layer, threads, dx, [&](int64_t at, int64_t c, auto lanes) {
        const Vec value = load(x + at, lanes), g = gradient(at, c, lanes, value);
        return g * load(&normalised.scale[c]) + (value * load(&slope[c]) + load(&constant[c]));
    });
}

// Calls work(act, zero of the data's type).
template <class Work>
void with_types(const Layer& layer, int is_bf16, const Work& work) {
    with_act(layer.act, [&](auto act) { is_bf16 ? work(act, bfloat16{}) : work(act, float{}); });
}

}  // namespace

// `x` (pixels, channels), bfloat16 or float32 -> `y` alike; `mean` and biased `var` (channels), float32, of the batch.
extern "C" void batch_norm_forward(const Layer* layer, int is_bf16, const void* x, const float* weight, const float* bias,
                                   void* y, float* mean, float* var, int threads) {
    with_types(*layer, is_bf16, [&](auto act, auto zero) {
        using T = decltype(zero);
        forward<act.value>(*layer, static_cast<const T*>(x), weight, bias, static_cast<T*>(y), mean, var, threads);
    });
}

// The same with `mean` and `var` given; `y` may be `x`.
extern "C" void batch_norm_apply(const Layer* layer, int is_bf16, const void* x, const float* weight, const float* bias,
                                 const float* mean, const float* var, void* y, int threads) {
    with_types(*layer, is_bf16, [&](auto act, auto zero) {
        using T = decltype(zero);
        apply<act.value>(*layer, static_cast<const T*>(x), weight, bias, mean, var, static_cast<T*>(y), threads);
    });
}

// Gradients for `dy` of `y`; `mean` and `var` as `batch_norm_forward` gave them.
extern "C" void batch_norm_backward(const Layer* layer, int is_bf16, const void* x, const void* dy, const float* weight,
                                    const float* bias, const float* mean, const float* var, void* dx, float* dweight,
                                    float* dbias, int threads) {
    with_types(*layer, is_bf16, [&](auto act, auto zero) {
        using T = decltype(zero);
        backward<act.value>(*layer, static_cast<const T*>(x), static_cast<const T*>(dy), weight, bias, mean, var,
                            static_cast<T*>(dx), dweight, dbias, threads);
    });
}

// Batch norm by given statistics and the activation behind it, on vectors of channels.
#pragma once

#include <cmath>

#include "vectors.h"

namespace {

enum Act : int32_t { LINEAR, RELU, SILU };

template <Act ACT, class T>
Vec activated(Vec v) {
    if constexpr (ACT == RELU) return v < 0 ? Vec{} : v;
    if constexpr (ACT == SILU) return v * sigmoid<T>(v);
    return v;
}

// The gradient for `v`, from `g` for its activation.
template <Act ACT, class T>
Vec before_act(Vec v, Vec g) {
    if constexpr (ACT == RELU) return v <= 0 ? Vec{} : g;
    if constexpr (ACT == SILU) {
        const Vec s = sigmoid<T>(v);
        return g * s * (1.0f + v * (1.0f - s));
    }
    return g;
}

// One float per channel, padded to whole vectors.
using Channels = std::vector<float>;

Channels padded(const float* values, int64_t channels) {
    Channels result(vectors(channels) * LANES);
    std::copy(values, values + channels, result.begin());
    return result;
}

struct Normalised {  // a channel's values as they enter the activation
    Channels scale, shift;
    Normalised(int64_t channels, float eps, const float* weight, const float* bias, const float* mean, const float* var)
        : scale(padded(weight, channels)), shift(padded(bias, channels)) {
        for (int64_t c = 0; c < channels; ++c) {
            scale[c] /= std::sqrt(var[c] + eps);
            shift[c] -= mean[c] * scale[c];
        }
    }
    Vec operator()(Vec x, int64_t c) const { return x * load(&scale[c]) + load(&shift[c]); }
};

// Calls work(act) with an activation as a constant.
template <class Work>
void with_act(Act act, const Work& work) {
    if (act == RELU)
        work(std::integral_constant<Act, RELU>{});
    else if (act == SILU)
        work(std::integral_constant<Act, SILU>{});
    else
        work(std::integral_constant<Act, LINEAR>{});
}

}  // namespace

// What lies between the 1x1 convolutions of an inverted residual, without gradient, in channels-last memory: batch norm
// by given statistics and its activation, depthwise convolution, the same again, and the mean of each image's pixels.
//
// One pass over memory: rows enter through the first batch norm into a ring of as many rows as the convolution reaches
// over, float32 and with its zero padding, and leave it through the second. A piece of work is a group of channels of
// one image, so equal inputs give equal bits on any number of threads.

#include "normalised.h"
#include "scratch.h"

namespace {

constexpr int64_t GROUP = 16;  // vectors of channels in a piece of work

struct Stage {  // input (n, h, w, c), output (n, out_h, out_w, c); zero padding above and to the left, below `kernel`
    int64_t n, h, w, c, out_h, out_w, kernel, stride, top, left;
    float first_eps, second_eps;
    Act act;
};

struct Piece {  // `vectors` vectors of an image's channels from `channel` on
    int64_t image, channel, vectors;
};

// The rows that the convolution sees at a time, of every vector of a piece: (vector, row modulo K, column, lane).
template <int K>
struct Ring {
    float* memory;
    int64_t cols;
    float* row(int64_t vector, int64_t row) const { return memory + ((vector * K + (row + K) % K) * cols) * LANES; }
};

// Row `row` of the image (h, w, c), which may lie outside it, into the ring.
template <int K, Act ACT, class T>
void enter(const Stage& s, const Piece& piece, const T* image, const Normalised& normalised, int64_t row,
           const Ring<K>& ring) {
    const int64_t last = std::min(s.w, ring.cols - s.left), step = ring.row(1, row) - ring.row(0, row);
    float* to = ring.row(0, row) + s.left * LANES;
    if (row < 0 || row >= s.h) {
        for (int64_t v = 0; v < piece.vectors; ++v) std::fill_n(to + v * step, last * LANES, 0.0f);
        return;
    }
    const int64_t whole = std::min(piece.vectors, (s.c - piece.channel) / LANES);
    for (int64_t col = 0; col < last; ++col, to += LANES) {
        const T* from = image + (row * s.w + col) * s.c + piece.channel;
        const auto put = [&](int64_t v, auto lanes) {
            const Vec value = normalised(load(from + v * LANES, lanes), piece.channel + v * LANES);
            store(to + v * step, activated<ACT, T>(value), LANES);
        };
        for (int64_t v = 0; v < whole; ++v) put(v, std::integral_constant<int, LANES>{});
        if (whole < piece.vectors) put(whole, static_cast<int>(s.c % LANES));
    }
}

// TILE pixels of an output row, of one vector of channels; `rows` are the K rows of the ring from the tile's first column.
template <int K, int STRIDE, int TILE>
inline void convolve(const float* const* rows, const float* weight, int64_t pitch, Vec* sums) {
    for (int t = 0; t < TILE; ++t) sums[t] = Vec{};
    for (int p = 0; p < K; ++p) {
        Vec taps[K];
        for (int q = 0; q < K; ++q, weight += pitch) taps[q] = load(weight);
#pragma GCC unroll 32
        for (int col = 0; col < (TILE - 1) * STRIDE + K; ++col) {
            const Vec value = load(rows[p] + col * LANES);
#pragma GCC unroll 8
            for (int q = 0; q < K; ++q)
                if (col >= q && (col - q) % STRIDE == 0 && (col - q) / STRIDE < TILE)
                    sums[(col - q) / STRIDE] += taps[q] * value;
        }
    }
}

// Row `row` of the output (out_h, out_w, c) from the ring; adds its pixels to `total` (vector, lane).
template <int K, int STRIDE, Act ACT, class T>
void leave(const Stage& s, const Piece& piece, const Ring<K>& ring, const float* weight, const Normalised& normalised,
           int64_t row, T* image, float* total) {
    constexpr int TILE = 7;
    const int64_t pitch = vectors(s.c) * LANES;
    for (int64_t v = 0; v < piece.vectors; ++v) {
        const int64_t c = piece.channel + v * LANES;
        const int lanes = static_cast<int>(std::min<int64_t>(LANES, s.c - c));
        T* to = image + row * s.out_w * s.c + c;
        Vec sum = {};
        const auto give = [&](Vec value) {
            value = activated<ACT, T>(normalised(value, c));
            store(to, value, lanes);
            sum += value;
            to += s.c;
        };
        const float* rows[K];
        for (int p = 0; p < K; ++p) rows[p] = ring.row(v, row * STRIDE - s.top + p);
        const auto step = [&](auto tile) {
            Vec sums[tile];
            convolve<K, STRIDE, tile>(rows, weight + c, pitch, sums);
            for (int t = 0; t < tile; ++t) give(sums[t]);
            for (int p = 0; p < K; ++p) rows[p] += tile * STRIDE * LANES;
        };
        int64_t col = 0;
        for (; col + TILE <= s.out_w; col += TILE) step(std::integral_constant<int, TILE>{});
        for (; col < s.out_w; ++col) step(std::integral_constant<int, 1>{});
        store(total + v * LANES, load(total + v * LANES) + sum, LANES);
    }
}

thread_local Scratch scratch;

template <int K, int STRIDE, Act ACT, class T>
void run(const Stage& s, const T* x, const float* weight, const Normalised& first, const Normalised& second, T* y, T* mean,
         int threads) {
    const int64_t groups = up(vectors(s.c), GROUP);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.n * groups; ++i) {
        const int64_t from = i % groups * GROUP;
        const Piece piece = {i / groups, from * LANES, std::min(GROUP, vectors(s.c) - from)};
        const int64_t cols = std::max((s.out_w - 1) * s.stride + K, s.left + 1), floats = piece.vectors * K * cols * LANES;
        float* memory = scratch.get(floats + piece.vectors * LANES);
        std::fill_n(memory, floats + piece.vectors * LANES, 0.0f);
        const Ring<K> ring = {memory, cols};
        float* total = memory + floats;
        int64_t next = -s.top;
        for (int64_t row = 0; row < s.out_h; ++row) {
            for (; next < row * s.stride - s.top + K; ++next)
                enter<K, ACT>(s, piece, x + piece.image * s.h * s.w * s.c, first, next, ring);
            leave<K, STRIDE, ACT>(s, piece, ring, weight, second, row, y + piece.image * s.out_h * s.out_w * s.c, total);
        }
        for (int64_t v = 0; v < piece.vectors; ++v) {
            const int64_t c = piece.channel + v * LANES;
            store(mean + piece.image * s.c + c, load(total + v * LANES) * (1.0f / (s.out_h * s.out_w)),
                  static_cast<int>(std::min<int64_t>(LANES, s.c - c)));
        }
    }
}

}  // namespace

// `x` (n, h, w, c), bfloat16 or float32 -> `y` (n, out_h, out_w, c) and its `mean` (n, c), alike. `taps` are (kernel,
// kernel, c), c rounded up to whole vectors; the norms' weights, biases, means and variances (c); all float32.
extern "C" void depthwise_stage(const Stage* s, int is_bf16, const void* x, const float* taps, const float* weight1,
                                const float* bias1, const float* mean1, const float* var1, const float* weight2,
                                const float* bias2, const float* mean2, const float* var2, void* y, void* mean,
                                int threads) {
    const Normalised first(s->c, s->first_eps, weight1, bias1, mean1, var1);
    const Normalised second(s->c, s->second_eps, weight2, bias2, mean2, var2);
    const auto typed = [&](auto kernel, auto stride, auto act, auto zero) {
        using T = decltype(zero);
        run<kernel.value, stride.value, act.value>(*s, static_cast<const T*>(x), taps, first, second,
                                                   static_cast<T*>(y), static_cast<T*>(mean), threads);
    };
    with_act(s->act, [&](auto act) {
        const auto sized = [&](auto kernel) {
            const auto strided = [&](auto stride) {
                is_bf16 ? typed(kernel, stride, act, bfloat16{}) : typed(kernel, stride, act, 0.0f);
            };
            if (s->stride == 1) strided(std::integral_constant<int, 1>{});
            if (s->stride == 2) strided(std::integral_constant<int, 2>{});
        };
        if (s->kernel == 3) sized(std::integral_constant<int, 3>{});
        if (s->kernel == 5) sized(std::integral_constant<int, 5>{});
        if (s->kernel == 7) sized(std::integral_constant<int, 7>{});
    });
}

// Gradients of depthwise convolutions in channels-last memory (N, H, W, C), float32 or bfloat16, summed in float32.
//
// Both kernels work on one band of rows of one image at a time. Of a few vectors of channels they first copy the band,
// as float32 and with its zero padding, into a buffer that stays in the cache; the loops over the taps then need no
// conversion and no bounds. Bands are dealt to threads in a fixed way: equal thread counts give equal bits.

#include <cstdlib>
#include <memory>
#include <numeric>

#include "vectors.h"

namespace {

constexpr int BLOCKS = 64 / LANES;        // vectors of channels that are copied together
constexpr int TILE = 4;                   // neighbouring pixels computed together
constexpr int64_t BAND_FLOATS = 1 << 16;  // size of a copied band, about

struct Shape {  // of the convolution: input (n, h, w, c), output (n, out_h, out_w, c)
    int64_t n, h, w, c, out_h, out_w, kernel, stride, padding, dilation;
    int64_t reach() const { return (kernel - 1) * dilation; }  // from the first tap to the last
};

// Memory of one thread that is kept for its next call.
class Scratch {
  public:
    float* get(int64_t floats) {
        if (floats > size) {
            memory.reset(static_cast<float*>(std::aligned_alloc(64, up(floats * sizeof(float), 64) * 64)));
            if (!memory) std::abort();
            size = floats;
        }
        return memory.get();
    }

  private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    std::unique_ptr<float[], Free> memory;
    int64_t size = 0;
};

struct Window {  // rows and columns of an image, possibly reaching beyond it
    int64_t row, rows, col, cols;
    int64_t floats() const { return rows * cols * LANES; }
};

// Copies `channels` of an image (h, w, pitch) to `to`, (block, row, column, lane), zero outside the image.
template <class T>
void copy_window(const T* image, int64_t h, int64_t w, int64_t pitch, int channels, const Window& win, float* to) {
    for (int64_t i = 0; i < win.rows; ++i) {
        const int64_t row = win.row + i;
        for (int64_t j = 0; j < win.cols; ++j) {
            const int64_t col = win.col + j;
            const bool inside = row >= 0 && row < h && col >= 0 && col < w;
            const T* from = image + (row * w + col) * pitch;
            float* out = to + (i * win.cols + j) * LANES;
            each_vector(channels, [&](int64_t c, auto lanes) {
                store(out + c / LANES * win.floats(), inside ? load(from + c, lanes) : Vec{}, LANES);
            });
        }
    }
}

// The sums of ROWS rows of taps, (ROWS, K, lane), over a band: `x` and `dy` as copied, each tap's in a register.
template <int K, int ROWS>
void sum_taps(const Shape& s, const float* x, int64_t cols, const float* dy, int64_t rows, float* sums) {
    Vec sum[ROWS][K] = {};
    const int64_t down = s.dilation * cols * LANES, right = s.dilation * LANES;
    for (int64_t i = 0; i < rows; ++i) {
        const float* at = x + i * s.stride * cols * LANES;
        for (int64_t j = 0; j < s.out_w; ++j, at += s.stride * LANES, dy += LANES) {
            const Vec d = load(dy);
#pragma GCC unroll 8
            for (int p = 0; p < ROWS; ++p)
#pragma GCC unroll 8
                for (int q = 0; q < K; ++q) sum[p][q] += d * load(at + p * down + q * right);
        }
    }
    for (int p = 0; p < ROWS; ++p)
        for (int q = 0; q < K; ++q) store(sums + (p * K + q) * LANES, load(sums + (p * K + q) * LANES) + sum[p][q], LANES);
}

// All taps' sums over a band; as many rows of taps at a time as there are registers.
template <int K, int FIRST = 0>
void sum_all_taps(const Shape& s, const float* x, int64_t cols, const float* dy, int64_t rows, float* sums) {
    constexpr int AT_ONCE = std::max(1, (REGISTERS - 4) / K);
    constexpr int ROWS = std::min(AT_ONCE, K - FIRST);
    sum_taps<K, ROWS>(s, x + FIRST * s.dilation * cols * LANES, cols, dy, rows, sums + FIRST * K * LANES);
    if constexpr (FIRST + ROWS < K) sum_all_taps<K, FIRST + ROWS>(s, x, cols, dy, rows, sums);
}

// Adds what rows [first, last) of one image's output contribute to the weight gradient, `sums` (block, tap, lane).
template <int K, class T>
void weight_band(const Shape& s, const T* x, const T* dy, int64_t first, int64_t last, Scratch& scratch, float* sums) {
    const Window in = {first * s.stride - s.padding, (last - 1 - first) * s.stride + s.reach() + 1, -s.padding,
                       (s.out_w - 1) * s.stride + s.reach() + 1};
    const Window out = {first, last - first, 0, s.out_w};
    float* xs = scratch.get(BLOCKS * (in.floats() + out.floats()));
    float* dys = xs + BLOCKS * in.floats();
    for (int64_t c = 0; c < s.c; c += BLOCKS * LANES) {
        const int channels = std::min<int64_t>(s.c - c, BLOCKS * LANES);
        copy_window(x + c, s.h, s.w, s.c, channels, in, xs);
        copy_window(dy + c, s.out_h, s.out_w, s.c, channels, out, dys);
        for (int b = 0; b < vectors(channels); ++b)
            sum_all_taps<K>(s, xs + b * in.floats(), in.cols, dys + b * out.floats(), out.rows,
                            sums + (c / LANES + b) * K * K * LANES);
    }
}

// Along one axis, the taps that pixel `at` of the input has a part in: from `first` on every `step`-th.
struct Taps {
    int64_t first, step;
    Taps(const Shape& s, int64_t at) : first(0), step(s.stride / std::gcd(s.stride, s.dilation)) {
        while (first < step && (at + s.padding - first * s.dilation) % s.stride) ++first;
        if (first == step) first = s.kernel;
    }
};

// TILE pixels of the input gradient in row `row`, `stride` columns apart from column `col` on: `dy` as copied from
// row 0 and column `left` on, `weight` (tap, lane).
inline void gather(const Shape& s, const float* dy, int64_t top, int64_t left, int64_t cols, const float* weight,
                   int64_t row, int64_t col, Vec* sum) {
    for (int t = 0; t < TILE; ++t) sum[t] = Vec{};
    const Taps rows(s, row), columns(s, col);
    for (int64_t p = rows.first; p < s.kernel; p += rows.step) {
        const float* line = dy + (((row + s.padding - p * s.dilation) / s.stride - top) * cols - left) * LANES;
        for (int64_t q = columns.first; q < s.kernel; q += columns.step) {
            const Vec tap = load(weight + (p * s.kernel + q) * LANES);
            const float* at = line + (col + s.padding - q * s.dilation) / s.stride * LANES;
#pragma GCC unroll 8
            for (int t = 0; t < TILE; ++t) sum[t] += tap * load(at + t * LANES);
        }
    }
}

// Rows [first, last) of one image's input gradient; `weight` (block, tap, lane).
template <class T>
void input_band(const Shape& s, const T* dy, const float* weight, int64_t first, int64_t last, Scratch& scratch, T* dx) {
    const int64_t taps = s.kernel * s.kernel;
    const auto line = [&](int64_t at) { return up(at + s.padding, s.stride) - up(s.reach(), s.stride); };
    const int64_t top = line(first), left = line(0);
    const Window win = {top, (last - 1 + s.padding) / s.stride - top + 1, left,
                        (s.w - 1 + s.padding) / s.stride - left + 1 + TILE};
    float* dys = scratch.get(BLOCKS * win.floats());
    for (int64_t c = 0; c < s.c; c += BLOCKS * LANES) {
        const int channels = std::min<int64_t>(s.c - c, BLOCKS * LANES);
        copy_window(dy + c, s.out_h, s.out_w, s.c, channels, win, dys);
        for (int64_t row = first; row < last; ++row)
            for (int64_t start = 0; start < s.stride; ++start)
                for (int64_t col = start; col < s.w; col += TILE * s.stride)
                    each_vector(channels, [&](int64_t from, auto lanes) {
                        Vec sum[TILE];
                        gather(s, dys + from / LANES * win.floats(), top, left, win.cols,
                               weight + (c + from) / LANES * taps * LANES, row, col, sum);
                        T* to = dx + (row * s.w + col) * s.c + c + from;
                        for (int t = 0; t < TILE && col + t * s.stride < s.w; ++t, to += s.stride * s.c)
                            store(to, sum[t], lanes);
                    });
    }
}

// Runs work(thread, image, first row, last row) for all images in bands of about `row_floats` * rows = BAND_FLOATS.
template <class Work>
void deal(int64_t images, int64_t rows, int64_t row_floats, int threads, const Work& work) {
    const int64_t wanted = up(rows, std::clamp<int64_t>(BAND_FLOATS / row_floats, 1, rows));
    const int64_t bands = images < threads ? std::clamp<int64_t>(up(threads, images), wanted, std::max(wanted, rows)) : wanted;
    const int64_t height = up(rows, bands), pieces = images * bands;
#pragma omp parallel num_threads(threads)
    {
        const int64_t thread = omp_get_thread_num(), team = omp_get_num_threads();
        for (int64_t i = pieces * thread / team; i < pieces * (thread + 1) / team; ++i) {
            const int64_t first = i % bands * height, last = std::min(rows, first + height);
            if (first < last) work(thread, i / bands, first, last);
        }
    }
}

thread_local Scratch scratch;

template <int K, class T>
void grad_weight(const Shape& s, const T* x, const T* dy, float* dw, int threads) {
    const int64_t taps = K * K, size = vectors(s.c) * taps * LANES;
    std::vector<float> sums(size * threads);
    deal(s.n, s.out_h, s.stride * ((s.out_w - 1) * s.stride + s.reach() + 1) * BLOCKS * LANES, threads,
         [&](int64_t thread, int64_t image, int64_t first, int64_t last) {
             weight_band<K>(s, x + image * s.h * s.w * s.c, dy + image * s.out_h * s.out_w * s.c, first, last, scratch,
                            sums.data() + thread * size);
         });
    for (int64_t c = 0; c < s.c; ++c)
        for (int64_t tap = 0; tap < taps; ++tap) {
            float sum = 0;
            for (int thread = 0; thread < threads; ++thread)
                sum += sums[thread * size + (c / LANES * taps + tap) * LANES + c % LANES];
            dw[c * taps + tap] = sum;
        }
}

template <class T>
void grad_weight(const Shape& s, const T* x, const T* dy, float* dw, int threads) {
    if (s.kernel == 3) grad_weight<3>(s, x, dy, dw, threads);
    if (s.kernel == 5) grad_weight<5>(s, x, dy, dw, threads);
    if (s.kernel == 7) grad_weight<7>(s, x, dy, dw, threads);
}

template <class T>
void grad_input(const Shape& s, const T* dy, const float* weight, T* dx, int threads) {
    const int64_t taps = s.kernel * s.kernel;
    std::vector<float> packed(vectors(s.c) * taps * LANES);  // (block, tap, lane)
    for (int64_t c = 0; c < s.c; ++c)
        for (int64_t tap = 0; tap < taps; ++tap)
            packed[(c / LANES * taps + tap) * LANES + c % LANES] = weight[c * taps + tap];
    deal(s.n, s.h, up(s.w, s.stride) * BLOCKS * LANES, threads,
         [&](int64_t, int64_t image, int64_t first, int64_t last) {
             input_band(s, dy + image * s.out_h * s.out_w * s.c, packed.data(), first, last, scratch,
                        dx + image * s.h * s.w * s.c);
         });
}

}  // namespace

// `x` (n, h, w, c) and `dy` (n, out_h, out_w, c), bfloat16 or float32 -> `dw` (c, kernel, kernel), float32.
extern "C" void depthwise_grad_weight(const Shape* s, int is_bf16, const void* x, const void* dy, float* dw, int threads) {
    if (is_bf16)
        grad_weight(*s, static_cast<const bfloat16*>(x), static_cast<const bfloat16*>(dy), dw, threads);
    else
        grad_weight(*s, static_cast<const float*>(x), static_cast<const float*>(dy), dw, threads);
}

// `dy` (n, out_h, out_w, c), bfloat16 or float32, and `weight` (c, kernel, kernel), float32 -> `dx` (n, h, w, c).
extern "C" void depthwise_grad_input(const Shape* s, int is_bf16, const void* dy, const float* weight, void* dx,
                                     int threads) {
    if (is_bf16)
        grad_input(*s, static_cast<const bfloat16*>(dy), weight, static_cast<bfloat16*>(dx), threads);
    else
        grad_input(*s, static_cast<const float*>(dy), weight, static_cast<float*>(dx), threads);
}

// Gradients of depthwise convolutions in channels-last memory (N, H, W, C), float32 or bfloat16, summed in float32.
//
// Both kernels work on one band of rows of one image at a time, which they ask for at once, so that it lies in the L2
// cache. Of one vector of channels after the other they then copy the band, as float32 and with its zero padding, into a
// buffer; the loops over the taps need no conversion and no bounds. Bands are dealt to threads in a fixed way: equal
// thread counts give equal bits.

#include <numeric>

#include "scratch.h"
#include "vectors.h"

namespace {

constexpr int64_t BAND_BYTES = 1 << 19;  // memory of a band, about: it is to stay in the L2 cache

struct Shape {  // of the convolution: input (n, h, w, c), output (n, out_h, out_w, c)
    int64_t n, h, w, c, out_h, out_w, kernel, stride, padding, dilation;
    int64_t reach() const { return (kernel - 1) * dilation; }  // from the first tap to the last
};

// Asks for memory that is then walked through in strides, which the processor does not foresee.
template <int WRITE, class T>
inline void fetch(const T* from, int64_t values) {
    const char* at = reinterpret_cast<const char*>(from);
    for (int64_t i = 0; i < values * int64_t(sizeof(T)); i += 64) __builtin_prefetch(at + i, WRITE, 2);
}

struct Window {  // rows and columns of an image, possibly reaching beyond it
    int64_t row, rows, col, cols;
    int64_t floats() const { return rows * cols * LANES; }
    template <class T>  // of an image of `h` rows, `pitch` values each
    void fetch_rows(const T* image, int64_t h, int64_t pitch) const {
        const int64_t first = std::clamp<int64_t>(row, 0, h), last = std::clamp<int64_t>(row + rows, first, h);
        fetch<0>(image + first * pitch, (last - first) * pitch);
    }
};

// Copies a vector of channels of an image (h, w, pitch) to `to`, (row, column, lane), zero outside the image.
template <class T, class Lanes>
void copy_window(const T* image, int64_t h, int64_t w, int64_t pitch, Lanes lanes, const Window& win, float* to) {
    const int64_t cols = win.cols;
    const int64_t left = std::clamp<int64_t>(-win.col, 0, cols), right = std::clamp<int64_t>(w - win.col, left, cols);
    for (int64_t i = 0; i < win.rows; ++i, to += cols * LANES) {
        const int64_t row = win.row + i;
        const bool inside = row >= 0 && row < h;
        const int64_t first = inside ? left : cols, last = inside ? right : cols;
        std::fill_n(to, first * LANES, 0.0f);
        std::fill_n(to + last * LANES, (cols - last) * LANES, 0.0f);
        const T* from = image + (row * w + win.col) * pitch;
        for (int64_t j = first; j < last; ++j) store(to + j * LANES, load(from + j * pitch, lanes), LANES);
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

// Adds what rows [first, last) of one image's output contribute to the weight gradient, `sums` (vector, tap, lane).
template <int K, class T>
void weight_band(const Shape& s, const T* x, const T* dy, int64_t first, int64_t last, Scratch& scratch, float* sums) {
    const Window in = {first * s.stride - s.padding, (last - 1 - first) * s.stride + s.reach() + 1, -s.padding,
                       (s.out_w - 1) * s.stride + s.reach() + 1};
    const Window out = {first, last - first, 0, s.out_w};
    in.fetch_rows(x, s.h, s.w * s.c);
    out.fetch_rows(dy, s.out_h, s.out_w * s.c);
    float* xs = scratch.get(in.floats() + out.floats());
    float* dys = xs + in.floats();
    each_vector(s.c, [&](int64_t c, auto lanes) {
        copy_window(x + c, s.h, s.w, s.c, lanes, in, xs);
        copy_window(dy + c, s.out_h, s.out_w, s.c, lanes, out, dys);
        sum_all_taps<K>(s, xs, in.cols, dys, out.rows, sums + c * K * K);
    });
}

// Along one axis, the taps that pixel `at` of the input has a part in: from `first` on every `step`-th, `count` in all.
// The pixels of the output they belong to lie `hop` apart, backwards.
struct Taps {
    int64_t first, step, count, hop;
    Taps(const Shape& s, int64_t at)
        : first(0), step(s.stride / std::gcd(s.stride, s.dilation)), hop(step * s.dilation / s.stride) {
        while (first < step && (at + s.padding - first * s.dilation) % s.stride) ++first;
        count = first < step ? up(s.kernel - first, step) : 0;
    }
    // The pixel of the output that the first tap belongs to.
    int64_t from(const Shape& s, int64_t at) const { return (at + s.padding - first * s.dilation) / s.stride; }
};

// TILE pixels of the input gradient in a row, `stride` columns apart: `dy` as copied, at the first of the taps, and the
// taps, (tap, lane); COUNT of them in a row.
template <int TILE, int COUNT, class Hop>
inline void gather(const Shape& s, const float* dy, int64_t cols, const float* weight, const Taps& rows,
                   const Taps& columns, Hop hop, Vec* sum) {
    for (int t = 0; t < TILE; ++t) sum[t] = Vec{};
    for (int64_t p = 0; p < rows.count; ++p) {
        const float* line = dy - p * rows.hop * cols * LANES;
        const float* taps = weight + ((rows.first + p * rows.step) * s.kernel + columns.first) * LANES;
#pragma GCC unroll 8
        for (int q = 0; q < COUNT; ++q) {
            const Vec tap = load(taps + q * columns.step * LANES);
#pragma GCC unroll 8
            for (int t = 0; t < TILE; ++t) sum[t] += tap * load(line + (t - q * hop) * LANES);
        }
    }
}

// Calls work(count, hop), both as constants where that is worth it.
template <class Work, int COUNT = 1>
inline void with_taps(const Taps& taps, const Work& work) {
    constexpr std::integral_constant<int, COUNT> count;
    if (taps.count == COUNT && taps.hop == 1) return work(count, std::integral_constant<int, 1>{});
    if (taps.count == COUNT) return work(count, static_cast<int>(taps.hop));
    if constexpr (COUNT < 7) return with_taps<Work, COUNT + 1>(taps, work);
    work(std::integral_constant<int, 0>{}, 1);
}

// Rows [first, last) of one image's input gradient; `weight` (vector, tap, lane).
template <int TILE, class T>
void input_band(const Shape& s, const T* dy, const float* weight, int64_t first, int64_t last, Scratch& scratch, T* dx) {
    const auto line = [&](int64_t at) { return up(at + s.padding, s.stride) - up(s.reach(), s.stride); };
    const int64_t top = line(first), left = line(0);
    const Window win = {top, (last - 1 + s.padding) / s.stride - top + 1, left,
                        (s.w - 1 + s.padding) / s.stride - left + 1 + TILE};
    win.fetch_rows(dy, s.out_h, s.out_w * s.c);
    fetch<1>(dx + first * s.w * s.c, (last - first) * s.w * s.c);
    float* dys = scratch.get(win.floats());
    each_vector(s.c, [&](int64_t c, auto lanes) {
        copy_window(dy + c, s.out_h, s.out_w, s.c, lanes, win, dys);
        for (int64_t start = 0; start < std::min(s.stride, s.w); ++start) {
            const Taps columns(s, start);
            with_taps(columns, [&](auto count, auto hop) {
                for (int64_t row = first; row < last; ++row) {
                    const Taps rows(s, row);
                    const float* at = dys + ((rows.from(s, row) - top) * win.cols + columns.from(s, start) - left) * LANES;
                    T* to = dx + (row * s.w + start) * s.c + c;
                    for (int64_t col = start; col < s.w; col += TILE * s.stride, at += TILE * LANES) {
                        Vec sum[TILE];
                        gather<TILE, count>(s, at, win.cols, weight + c * s.kernel * s.kernel, rows, columns, hop, sum);
                        for (int t = 0; t < TILE && col + t * s.stride < s.w; ++t, to += s.stride * s.c)
                            store(to, sum[t], lanes);
                    }
                }
            });
        }
    });
}

// Runs work(thread, image, first row, last row) for all images in bands of rows, `row_bytes` each.
template <class Work>
void deal(int64_t images, int64_t rows, int64_t row_bytes, int threads, const Work& work) {
    const int64_t wanted = up(rows, std::clamp<int64_t>(BAND_BYTES / row_bytes, 1, rows));
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
    deal(s.n, s.out_h, (s.stride * s.w + s.out_w) * s.c * sizeof(T), threads,
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

template <int TILE, class T>
void grad_input(const Shape& s, const T* dy, const float* weight, T* dx, int threads) {
    const int64_t taps = s.kernel * s.kernel;
    std::vector<float> packed(vectors(s.c) * taps * LANES);  // (vector, tap, lane)
    for (int64_t c = 0; c < s.c; ++c)
        for (int64_t tap = 0; tap < taps; ++tap)
            packed[(c / LANES * taps + tap) * LANES + c % LANES] = weight[c * taps + tap];
    deal(s.n, s.h, (s.w + up(s.out_w, s.stride)) * s.c * sizeof(T), threads,
         [&](int64_t, int64_t image, int64_t first, int64_t last) {
             input_band<TILE>(s, dy + image * s.out_h * s.out_w * s.c, packed.data(), first, last, scratch,
                              dx + image * s.h * s.w * s.c);
         });
}

template <class T>
void grad_input(const Shape& s, const T* dy, const float* weight, T* dx, int threads) {
    if (s.w > 4 * s.stride)
        grad_input<8>(s, dy, weight, dx, threads);
    else
        grad_input<4>(s, dy, weight, dx, threads);
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

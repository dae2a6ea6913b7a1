// x^H y of PAIRS pairs of vectors of n numbers each, added up in double precision.
//
// Shapes: x0, y0 .. x3, y3 (n), of which the first PAIRS pairs count and others are not read; partial (blocks, step), of
// which each thread block writes PAIRS numbers in a row from `first` on. T is the type of the vectors, S that of sums.
//
// Launch: any number of blocks of 256 threads. What a vector shares with another pair comes from the cache the second
// time. The order of additions depends on n and the number of blocks alone: the same bits each time.
#include "numbers.cuh"

template <typename T>
__device__ __forceinline__ double product(T x, T y) {
    return static_cast<double>(x) * y;
}
template <typename R>
__device__ __forceinline__ Complex<double> product(Complex<R> x, Complex<R> y) {
    const double re = x.re, im = -x.im;
    return {re * y.re - im * y.im, re * y.im + im * y.re};
}

template <typename T, typename S, int PAIRS>
__global__ void __launch_bounds__(256) dots(
    const long long n, const long long first, const long long step, const T* __restrict__ x0,
    const T* __restrict__ y0, const T* __restrict__ x1, const T* __restrict__ y1, const T* __restrict__ x2,
    const T* __restrict__ y2, const T* __restrict__ x3, const T* __restrict__ y3, S* __restrict__ partial) {
    constexpr int AT_ONCE = 4;
    alignas(16) __shared__ char warp_sums_memory[8 * PAIRS * sizeof(S)];
    S* const warp_sums = reinterpret_cast<S*>(warp_sums_memory);
    const T* const xs[4] = {x0, x1, x2, x3};
    const T* const ys[4] = {y0, y1, y2, y3};
    const long long threads = static_cast<long long>(gridDim.x) * 256;
    S sums[PAIRS] = {};
    for (long long i = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x; i < n; i += AT_ONCE * threads) {
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair) {
            T x[AT_ONCE], y[AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const bool exists = i + k * threads < n;
                x[k] = read_again(exists, xs[pair] + i + k * threads);
                y[k] = read_again(exists, ys[pair] + i + k * threads);
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) sums[pair] = plus(sums[pair], product(x[k], y[k]));
        }
    }
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
#pragma unroll
        for (int mask = 16; mask; mask >>= 1) sums[pair] = plus(sums[pair], from_lane_across(sums[pair], mask));
        if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32 * PAIRS + pair] = sums[pair];
    }
    __syncthreads();
    if (threadIdx.x < PAIRS) {
        S sum = warp_sums[threadIdx.x];
        for (int warp = 1; warp < 8; ++warp) sum = plus(sum, warp_sums[warp * PAIRS + threadIdx.x]);
        partial[blockIdx.x * step + first + threadIdx.x] = sum;
    }
}

// Y = A X for a few columns of X, A in CSR: LANES neighbouring lanes of a warp, a power of two, to a row of A.
//
// Shapes: indptr (rows + 1), indices and data (nnz), X (columns, k), Y (rows, k), the last two of any strides, which
// count elements. V is the type of the matrix's values, T that of X, Y and all sums, I that of indices.
//
// Launch: (ceil(rows / (256 / LANES)), ceil(k / (ACROSS * EACH))) blocks of 256 threads. Of a row's lanes, ACROSS
// beside each other share an entry and own EACH neighbouring columns of X and Y each; LANES / ACROSS entries are taken
// at a time, and DEEP such steps at once, so that many loads are under way. If WIDE, rows of X lie one after the other,
// aligned, with k a multiple of EACH, and a lane reads its EACH values in one load of 16 bytes. Additions happen in an
// order that depends on these numbers alone: the same bits each time.
#include "numbers.cuh"

template <typename T, int EACH>
struct alignas(16) Neighbours {
    T values[EACH];
};

// EACH neighbours from `p` on, of which `left` exist; zeros unless `live`.
template <bool WIDE, int EACH, typename T>
__device__ __forceinline__ void read_columns(
    bool live, const T* x, const T* p, long long stride, int left, T* values) {
    if constexpr (WIDE) {
        // Read in any case, so that no branch keeps the next load waiting.
        const Neighbours<T, EACH> read = *reinterpret_cast<const Neighbours<T, EACH>*>(live ? p : x);
#pragma unroll
        for (int i = 0; i < EACH; ++i) values[i] = live ? read.values[i] : T{};
    } else {
#pragma unroll
        for (int i = 0; i < EACH; ++i) values[i] = read_again(live && i < left, p + i * stride);
    }
}

template <typename V, typename T, typename I, int LANES, int ACROSS, int EACH, bool WIDE>
__global__ void __launch_bounds__(256) csr_columns(
    const long long rows, const long long k, const long long x_row_stride, const long long x_column_stride,
    const long long y_row_stride, const long long y_column_stride, const I* __restrict__ indptr,
    const I* __restrict__ indices, const V* __restrict__ data, const T* __restrict__ x, T* __restrict__ y) {
    typedef typename Position<I>::type P;
    constexpr int BESIDE = LANES / ACROSS, DEEP = 4;
    const int lane = threadIdx.x % LANES;
    const long long row = static_cast<long long>(blockIdx.x) * (256 / LANES) + threadIdx.x / LANES;
    const long long column = (static_cast<long long>(blockIdx.y) * ACROSS + lane % ACROSS) * EACH;
    const int left = k - column < EACH ? (k > column ? static_cast<int>(k - column) : 0) : EACH;
    const bool exists = row < rows;
    const P stop = read_again(exists, indptr + row + 1);
    P at = static_cast<P>(read_again(exists, indptr + row)) + lane / ACROSS;
    T sums[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) sums[i] = T{};

    for (; at < stop; at += DEEP * BESIDE) {
        V values[DEEP];
        I columns[DEEP];
        T factors[DEEP][EACH];
#pragma unroll
        for (int d = 0; d < DEEP; ++d) {
            columns[d] = read_once(at + d * BESIDE < stop, indices + at + d * BESIDE);
            values[d] = read_once(at + d * BESIDE < stop, data + at + d * BESIDE);
        }
#pragma unroll
        for (int d = 0; d < DEEP; ++d) {
            const T* const p = x + columns[d] * x_row_stride + column * x_column_stride;
            const bool live = at + d * BESIDE < stop && left > 0;
            read_columns<WIDE, EACH>(live, x, p, x_column_stride, left, factors[d]);
        }
#pragma unroll
        for (int d = 0; d < DEEP; ++d) {
#pragma unroll
            for (int i = 0; i < EACH; ++i) sums[i] = multiply_add(sums[i], values[d], factors[d][i]);
        }
    }

    __syncwarp();
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
#pragma unroll
        for (int mask = LANES / 2; mask >= ACROSS; mask /= 2) sums[i] = plus(sums[i], from_lane_across(sums[i], mask));
        if (exists && lane < ACROSS && i < left) y[row * y_row_stride + (column + i) * y_column_stride] = sums[i];
    }
}

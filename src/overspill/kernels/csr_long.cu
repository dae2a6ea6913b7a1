// y = A x for the few long rows of A in CSR, each cut into pieces of PIECE entries, the last one shorter.
//
// Shapes: numbers (long), which rows are long; firsts (long + 1), the pieces before each of them; indptr (rows + 1),
// indices and data (nnz), x (columns), y (rows), carry (pieces). V is the type of the matrix's values, T that of x, y
// and all sums, I that of indices.
//
// Launch, in this order: csr_long, a block of 256 threads a piece, which writes carry; csr_long_sums, a block of 256
// threads a long row, which writes its entry of y. Additions happen in an order that depends on the row's length alone:
// the same bits each time.
#include "numbers.cuh"

constexpr int THREADS = 256;
constexpr int AT_ONCE = 4;
constexpr long long PIECE = 16 * THREADS;

// The sum over a block's threads, in its first.
template <typename T>
__device__ __forceinline__ T sum_of_block(T sum) {
    alignas(16) __shared__ char warp_sums_memory[THREADS / 32 * sizeof(T)];
    T* const warp_sums = reinterpret_cast<T*>(warp_sums_memory);
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) sum = plus(sum, from_lane_across(sum, mask));
    if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < THREADS / 32; ++warp) sum = plus(sum, warp_sums[warp]);
    }
    return sum;
}

template <typename V, typename T, typename I>
__global__ void __launch_bounds__(THREADS) csr_long(
    const long long count, const I* __restrict__ numbers, const long long* __restrict__ firsts,
    const I* __restrict__ indptr, const I* __restrict__ indices, const V* __restrict__ data,
    const T* __restrict__ x, T* __restrict__ carry) {
    const long long piece = blockIdx.x;
    long long low = 0, high = count - 1;  // the last long row that begins no later than this piece
    while (low < high) {
        const long long middle = (low + high + 1) / 2;
        if (firsts[middle] <= piece) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    const long long begin = indptr[numbers[low]] + (piece - firsts[low]) * PIECE;
    const long long row_end = indptr[numbers[low] + 1];
    const long long end = begin + PIECE < row_end ? begin + PIECE : row_end;
    T sum{};
    for (long long at = begin + threadIdx.x; at < end; at += AT_ONCE * THREADS) {
        I columns[AT_ONCE];
        V values[AT_ONCE];
        T factors[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            columns[k] = read_once(at + k * THREADS < end, indices + at + k * THREADS);
            values[k] = read_once(at + k * THREADS < end, data + at + k * THREADS);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) factors[k] = read_again(at + k * THREADS < end, x + columns[k]);
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) sum = multiply_add(sum, values[k], factors[k]);
    }
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) carry[piece] = sum;
}

template <typename T, typename I>
__global__ void __launch_bounds__(THREADS) csr_long_sums(
    const I* __restrict__ numbers, const long long* __restrict__ firsts, const T* __restrict__ carry,
    T* __restrict__ y) {
    T sum{};
    for (long long piece = firsts[blockIdx.x] + threadIdx.x; piece < firsts[blockIdx.x + 1]; piece += THREADS) {
        sum = plus(sum, carry[piece]);
    }
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) y[numbers[blockIdx.x]] = sum;
}

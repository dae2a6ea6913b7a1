// y = A^T x, A in CSR, without a transposed copy: products are added where their columns are, in whole numbers, whose
// sum is the same in whatever order they arrive.
//
// Every product a x is less than 1 in units of 2^(e_a + e_x), where |a| < 2^e_a and |x| < 2^e_x for all that are
// finite. With fewer than 2^HEAD entries in each column it is rounded to a multiple of 2^(HEAD - 62) units, and the sum
// of a column stays within 2^62 of these multiples. What rounding left, for double precision, is rounded to a multiple
// of 2^(2 HEAD - 125) units and summed by itself. Single precision does without: products are exact in double
// precision. Of complex numbers both parts are less than 2 units: HEAD is one more. Products that are infinite or no
// numbers are added to y itself, where any order gives the same.
//
// Shapes: indptr (rows + 1), indices and data (nnz), x (rows), y (columns), zeros before; sums (columns, parts, limbs),
// zeros before: 64-bit, two parts if T is complex, one limb if T is of single precision and two if not; exponents:
// one integer each, the lowest before. V is the type of the matrix's values, T that of x and y, I that of indices.
//
// Launch: csr_exponent for data, once a matrix, and for x: any number of blocks of 256 threads, each thread every so
// manieth number. csr_transposed: a block of 256 threads for each tile of csr_merge.cu, a thread takes every 256th of a
// tile's entries and finds their rows by bisection. csr_transposed_finish: a thread a column.
#include "numbers.cuh"

constexpr int THREADS = 256;
constexpr int ITEMS = 7;
constexpr int TILE = THREADS * ITEMS;  // as in csr_merge.cu

template <typename T>
struct Fixed {  // of a real number
    typedef T Real;
    static constexpr int PARTS = 1;
    static constexpr int LIMBS = sizeof(T) / 4;
};
template <typename R>
struct Fixed<Complex<R>> {
    typedef R Real;
    static constexpr int PARTS = 2;
    static constexpr int LIMBS = sizeof(R) / 4;
};

// 2^exponent, from -1022 to 1023.
__device__ __forceinline__ double power(int exponent) { return __hiloint2double((exponent + 1023) << 20, 0); }

// What makes numbers below 2^exponent less than 1: two factors, since one may not be a number of double precision.
struct Scale {
    double first, second;
    __device__ explicit Scale(int exponent)
        : first(power(-(exponent / 2))), second(power(exponent / 2 - exponent)) {}
    __device__ double operator()(double a) const { return a * first * second; }
};

__device__ __forceinline__ bool is_finite(double a) { return (__double2hiint(a) & 0x7ff00000) != 0x7ff00000; }

// The least e so that |a| < 2^e; the lowest integer for zero, infinities and what is no number.
__device__ __forceinline__ int exponent_of(double a) {
    const int biased = (__double2hiint(a) >> 20) & 0x7ff;
    if (biased == 0x7ff || a == 0) return -2147483647 - 1;
    return biased ? biased - 1022 : ((__double2hiint(a * power(60)) >> 20) & 0x7ff) - 1022 - 60;
}

template <typename R>
__global__ void __launch_bounds__(THREADS) csr_exponent(
    const long long count, const R* __restrict__ numbers, int* __restrict__ exponent) {
    const long long stride = static_cast<long long>(gridDim.x) * THREADS;
    int most = -2147483647 - 1;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += stride) {
        const int own = exponent_of(read_again(true, numbers + i));
        most = own > most ? own : most;
    }
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) {
        const int other = __shfl_xor_sync(WARP, most, mask);
        most = other > most ? other : most;
    }
    if (threadIdx.x % 32 == 0) atomicMax(exponent, most);
}

// The exponent that csr_exponent found, of numbers of which some are finite and not zero.
__device__ __forceinline__ int found(const int* exponent) { return *exponent < -2000 ? 0 : *exponent; }

template <int LIMBS, typename R>
__device__ __forceinline__ void add(unsigned long long* sums, R* y, double product, double unit, double small) {
    if (!is_finite(product)) {
        atomicAdd(y, static_cast<R>(product));
        return;
    }
    const long long whole = __double2ll_rn(product * unit);
    if (whole) atomicAdd(sums, static_cast<unsigned long long>(whole));
    if constexpr (LIMBS == 2) {
        const long long rest = __double2ll_rn((product * unit - static_cast<double>(whole)) * small);
        if (rest) atomicAdd(sums + 1, static_cast<unsigned long long>(rest));
    }
}

template <typename V>
__device__ __forceinline__ double real_of(V a) {
    return a;
}
template <typename R>
__device__ __forceinline__ double real_of(Complex<R> a) {
    return a.re;
}
template <typename V>
__device__ __forceinline__ double imaginary_of(V) {
    return 0;
}
template <typename R>
__device__ __forceinline__ double imaginary_of(Complex<R> a) {
    return a.im;
}
template <typename V>
constexpr bool is_complex = Fixed<V>::PARTS == 2;

template <typename V, typename T, typename I>
__global__ void __launch_bounds__(THREADS) csr_transposed(
    const long long rows, const long long nnz, const int head, const long long* __restrict__ tile_rows,
    const int* __restrict__ data_exponent, const int* __restrict__ x_exponent, const I* __restrict__ indptr,
    const I* __restrict__ indices, const V* __restrict__ data, const T* __restrict__ x,
    unsigned long long* __restrict__ sums, typename Fixed<T>::Real* __restrict__ y) {
    constexpr int LIMBS = Fixed<T>::LIMBS, PARTS = Fixed<T>::PARTS;
    __shared__ int ends[TILE];  // of the tile's rows, counted from its first entry

    const long long tile = blockIdx.x;
    const long long first_item = tile * TILE;
    const long long last_item = first_item + TILE < rows + nnz ? first_item + TILE : rows + nnz;
    const long long first_row = tile_rows[tile];
    const int row_count = tile_rows[tile + 1] - first_row;
    const long long first_entry = first_item - first_row;
    const int entry_count = last_item - first_item - row_count;
    I columns[ITEMS];
    V values[ITEMS];
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const int e = threadIdx.x + k * THREADS;
        columns[k] = read_once(e < entry_count, indices + first_entry + e);
        values[k] = read_once(e < entry_count, data + first_entry + e);
    }
    for (int r = threadIdx.x; r < row_count; r += THREADS) {
        ends[r] = static_cast<int>(indptr[first_row + r + 1] - first_entry);
    }
    __syncthreads();

    const Scale scale_a(found(data_exponent)), scale_x(found(x_exponent));
    const double unit = power(62 - head), small = power(63 - head);
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const int e = threadIdx.x + k * THREADS;
        if (e >= entry_count) break;
        int row = 0, high = row_count;
        while (row < high) {
            const int middle = (row + high) / 2;
            if (ends[middle] <= e) {
                row = middle + 1;
            } else {
                high = middle;
            }
        }
        const T factor = read_again(true, x + first_row + row);
        const double a_re = scale_a(real_of(values[k])), x_re = scale_x(real_of(factor));
        unsigned long long* const cell = sums + static_cast<long long>(columns[k]) * (PARTS * LIMBS);
        typename Fixed<T>::Real* const own = y + static_cast<long long>(columns[k]) * PARTS;
        if constexpr (PARTS == 1) {
            add<LIMBS>(cell, own, a_re * x_re, unit, small);
        } else {
            const double x_im = scale_x(imaginary_of(factor));
            double re = a_re * x_re, im = a_re * x_im;
            if constexpr (is_complex<V>) {
                const double a_im = scale_a(imaginary_of(values[k]));
                re = re - a_im * x_im;
                im = im + a_im * x_re;
            }
            add<LIMBS>(cell, own, re, unit, small);
            add<LIMBS>(cell + LIMBS, own + 1, im, unit, small);
        }
    }
}

// `count`: of real numbers, twice the columns if T is complex.
template <typename R>
__global__ void __launch_bounds__(THREADS) csr_transposed_finish(
    const long long count, const int head, const int* __restrict__ data_exponent, const int* __restrict__ x_exponent,
    const long long* __restrict__ sums, R* __restrict__ y) {
    constexpr int LIMBS = Fixed<R>::LIMBS;
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= count) return;
    long long whole = sums[i * LIMBS];
    double sum = static_cast<double>(whole);
    if constexpr (LIMBS == 2) {
        // The rest, as what is left of the nearest whole: no two parts of a sum then cancel.
        const int bits = 63 - head;
        long long rest = sums[i * LIMBS + 1];
        const long long carried = (rest >> bits) + ((rest >> (bits - 1)) & 1);
        rest -= carried << bits;
        sum = static_cast<double>(whole + carried) + static_cast<double>(rest) * power(-bits);
    }
    const double special = y[i];
    const int exponent = found(data_exponent) + found(x_exponent) + head - 62;
    y[i] = special == 0 ? static_cast<R>(ldexp(sum, exponent)) : static_cast<R>(special);
}

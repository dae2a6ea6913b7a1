// What kernels share: complex numbers laid out as NumPy's, loads that say how soon data is used again, and shuffles of
// any type of number. Needs no other header, as NVRTC has none.

template <typename R>
struct alignas(2 * sizeof(R)) Complex {
    R re, im;
};

// Unsigned, so that a position just past the last of 2^31 - 1 entries does not wrap round.
template <typename I>
struct Position;
template <>
struct Position<int> {
    typedef unsigned int type;
};
template <>
struct Position<long long> {
    typedef unsigned long long type;
};

template <typename T>
__device__ __forceinline__ T plus(T a, T b) {
    return a + b;
}
template <typename R>
__device__ __forceinline__ Complex<R> plus(Complex<R> a, Complex<R> b) {
    return {a.re + b.re, a.im + b.im};
}

// sum + a * x, where a may be stored in fewer bits, or be real.
template <typename V, typename T>
__device__ __forceinline__ T multiply_add(T sum, V a, T x) {
    return static_cast<T>(a) * x + sum;
}
template <typename V, typename R>
__device__ __forceinline__ Complex<R> multiply_add(Complex<R> sum, V a, Complex<R> x) {
    return {static_cast<R>(a) * x.re + sum.re, static_cast<R>(a) * x.im + sum.im};
}
template <typename S, typename R>
__device__ __forceinline__ Complex<R> multiply_add(Complex<R> sum, Complex<S> a, Complex<R> x) {
    const R re = a.re, im = a.im;
    return {re * x.re + (-im * x.im + sum.re), re * x.im + (im * x.re + sum.im)};
}

// Loads that happen only where `live`, else give zero, without a branch: so many of them can be under way at once,
// which the compiler does not promise of conditional expressions (tests that run kernels on the host bring their own).
// What is read once shall not drive from the caches what is read again; neither is written meanwhile.
#ifndef CSR_LOADS
#define CSR_LOAD(NAME, HOW, T, BITS, REGISTER)                                                       \
    __device__ __forceinline__ T NAME(bool live, const T* p) {                                       \
        T value;                                                                                     \
        asm("{ .reg .pred live; setp.ne.s32 live, %2, 0; mov.b" BITS " %0, 0;"                       \
            " @live ld.global." HOW ".b" BITS " %0, [%1]; }"                                         \
            : "=" REGISTER(value)                                                                    \
            : "l"(p), "r"(static_cast<int>(live)));                                                  \
        return value;                                                                                \
    }
#define CSR_LOAD_PAIR(NAME, HOW, R, BITS, REGISTER)                                                  \
    __device__ __forceinline__ Complex<R> NAME(bool live, const Complex<R>* p) {                     \
        R re, im;                                                                                    \
        asm("{ .reg .pred live; setp.ne.s32 live, %3, 0; mov.b" BITS " %0, 0; mov.b" BITS " %1, 0;"  \
            " @live ld.global." HOW ".v2.b" BITS " {%0, %1}, [%2]; }"                                \
            : "=" REGISTER(re), "=" REGISTER(im)                                                     \
            : "l"(p), "r"(static_cast<int>(live)));                                                  \
        return {re, im};                                                                             \
    }
#define CSR_LOADS(NAME, HOW)                     \
    CSR_LOAD(NAME, HOW, int, "32", "r")          \
    CSR_LOAD(NAME, HOW, long long, "64", "l")    \
    CSR_LOAD(NAME, HOW, float, "32", "f")        \
    CSR_LOAD(NAME, HOW, double, "64", "d")       \
    CSR_LOAD_PAIR(NAME, HOW, float, "32", "f")   \
    CSR_LOAD_PAIR(NAME, HOW, double, "64", "d")
#endif
CSR_LOADS(read_once, "cs")
CSR_LOADS(read_again, "nc")

constexpr unsigned int WARP = 0xffffffffu;

template <typename T>
__device__ __forceinline__ T from_lane_across(T a, int mask) {
    return __shfl_xor_sync(WARP, a, mask);
}
template <typename R>
__device__ __forceinline__ Complex<R> from_lane_across(Complex<R> a, int mask) {
    return {__shfl_xor_sync(WARP, a.re, mask), __shfl_xor_sync(WARP, a.im, mask)};
}

template <typename T>
__device__ __forceinline__ T from_lane_below(T a, int distance) {
    return __shfl_up_sync(WARP, a, distance);
}
template <typename R>
__device__ __forceinline__ Complex<R> from_lane_below(Complex<R> a, int distance) {
    return {__shfl_up_sync(WARP, a.re, distance), __shfl_up_sync(WARP, a.im, distance)};
}

// CUDA's threads on the host, one after the other, so that kernels can be tested where there is no GPU.
//
// Each thread of a thread block is a context of its own, which runs until it waits for others: at __syncthreads, or at
// a shuffle or __syncwarp, which wait for the whole warp. Blocks run one after the other, so that shared memory can be
// static.
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__

struct Dim3 {
    unsigned int x = 1, y = 1;
};
static Dim3 threadIdx, blockIdx, gridDim;

namespace host {

constexpr int WARP_SIZE = 32, STACK = 128 * 1024;

struct Barrier {
    int expected = 0, arrived = 0, passed = 0;
};
struct Thread {
    ucontext_t context;
    jmp_buf place;
    std::vector<char> stack;
    bool started = false, done = false;
};
static std::vector<Thread> threads;
static std::vector<Barrier> warps;
static std::vector<unsigned char> exchanged;
static Barrier block;
static jmp_buf scheduler;
static int running;
static std::function<void()> body;

static void wait(Barrier& barrier) {
    const int turn = barrier.passed;
    if (++barrier.arrived == barrier.expected) {
        barrier.arrived = 0;
        ++barrier.passed;
    }
    while (barrier.passed == turn) {
        if (!_setjmp(threads[running].place)) _longjmp(scheduler, 1);
    }
}

template <typename T>
T exchange(T value, int source) {
    const int lane = running % WARP_SIZE, first = running - lane;
    std::memcpy(&exchanged[(first + lane) * 16], &value, sizeof(T));
    wait(warps[running / WARP_SIZE]);
    T result = value;
    if (source >= 0 && source < WARP_SIZE) std::memcpy(&result, &exchanged[(first + source) * 16], sizeof(T));
    wait(warps[running / WARP_SIZE]);
    return result;
}

static void start() {
    body();
    threads[running].done = true;
    // Who has left is waited for no longer: but a warp leaves as one, and nobody waits for a block that some left.
    --warps[running / WARP_SIZE].expected;
    --block.expected;
    _longjmp(scheduler, 1);
}

// Lets a thread go on until it waits or ends. Contexts only begin threads: changing them takes system calls.
static void resume(Thread& thread) {
    if (_setjmp(scheduler)) return;
    if (thread.started) _longjmp(thread.place, 1);
    thread.started = true;
    setcontext(&thread.context);
}

static void run_block(int count) {
    threads = std::vector<Thread>(count);
    warps.assign(count / WARP_SIZE, Barrier{WARP_SIZE});
    exchanged.assign(count * 16, 0);
    block = Barrier{count};
    for (Thread& thread : threads) {
        thread.stack.resize(STACK);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, start, 0);
    }
    for (int left = count, turns = 0; left; ++turns) {
        if (turns > 100000) {
            std::fputs("threads wait for each other for ever\n", stderr);
            std::abort();
        }
        for (running = 0; running < count; ++running) {
            if (threads[running].done) continue;
            threadIdx.x = running;
            resume(threads[running]);
            left -= threads[running].done;
        }
    }
}

template <typename... A, std::size_t... N>
void launch(void (*kernel)(A...), Dim3 grid, int count, void** arguments, std::index_sequence<N...>) {
    gridDim = grid;
    body = [=] { kernel(*static_cast<std::remove_reference_t<A>*>(arguments[N])...); };
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
        for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block(count);
    }
}

// As cuLaunchKernel takes them: pointers to arguments.
template <typename... A>
void launch(void (*kernel)(A...), unsigned int x, unsigned int y, int count, void** arguments) {
    launch(kernel, Dim3{x, y}, count, arguments, std::index_sequence_for<A...>());
}

}  // namespace host

inline void __syncthreads() { host::wait(host::block); }
inline void __syncwarp() { host::wait(host::warps[host::running / host::WARP_SIZE]); }
template <typename T>
T __shfl_xor_sync(unsigned int, T value, int mask) {
    return host::exchange(value, static_cast<int>(threadIdx.x % 32) ^ mask);
}
template <typename T>
T __shfl_up_sync(unsigned int, T value, int distance) {
    return host::exchange(value, static_cast<int>(threadIdx.x % 32) - distance);
}
template <typename T>
T atomicAdd(T* p, T value) {
    const T old = *p;
    *p = old + value;
    return old;
}
template <typename T>
T atomicMax(T* p, T value) {
    const T old = *p;
    *p = old < value ? value : old;
    return old;
}
inline long long __double2ll_rn(double a) { return std::llrint(a); }
inline int __double2hiint(double a) {
    long long bits;
    std::memcpy(&bits, &a, 8);
    return static_cast<int>(bits >> 32);
}
inline double __hiloint2double(int high, int low) {
    const long long bits = static_cast<long long>(high) << 32 | static_cast<unsigned int>(low);
    double a;
    std::memcpy(&a, &bits, 8);
    return a;
}
using std::ldexp;

#define CSR_LOADS(NAME, HOW)                 \
    template <typename T>                    \
    inline T NAME(bool live, const T* p) {   \
        return live ? *p : T{};              \
    }

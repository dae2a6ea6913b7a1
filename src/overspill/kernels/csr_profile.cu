// How evenly rows of CSR would keep the lanes of warps busy, for each number of lanes that a row may be given.
//
// Shapes: indptr (rows + 1); counts (9), zeros before. counts[w], w = 0..5: the lane-steps that rows take with 2^w lanes
// each, where 32 / 2^w neighbouring rows share a warp and wait for the longest, and an empty row takes as long as one
// entry. counts[6]: the entries of the longest row. counts[7]: rows that have entries. counts[8]: entries. In all of
// them, rows of more than `limit` entries count as empty.
//
// Launch: any number of blocks of 256 threads. A warp owns 32 rows at a time, a lane one of them. Counts are whole
// numbers: in whatever order warps add theirs, the result is the same.
#include "numbers.cuh"

template <typename I>
__global__ void __launch_bounds__(256) csr_profile(
    const long long rows, const long long limit, const I* __restrict__ indptr,
    unsigned long long* __restrict__ counts) {
    const int lane = threadIdx.x % 32;
    const long long warps = static_cast<long long>(gridDim.x) * 8;
    unsigned long long slots[6] = {}, longest = 0, occupied = 0, entries = 0;
    for (long long first = (static_cast<long long>(blockIdx.x) * 8 + threadIdx.x / 32) * 32; first < rows;
         first += warps * 32) {
        const bool exists = first + lane < rows;
        const I* own = indptr + first + lane;
        unsigned long long most = read_again(exists, own + 1) - read_again(exists, own);
        most = most <= limit ? most : 0;
        longest = most > longest ? most : longest;
        occupied += most > 0;
        entries += most;
        most = most ? most : 1;
        // From 32 lanes a row, every row by itself, to one, where 32 rows wait for the longest.
#pragma unroll
        for (int w = 5; w >= 0; --w) {
            // Every row of a group knows the group's most: the first one speaks for all.
            const unsigned long long steps = (most + (1u << w) - 1) >> w;
            if (exists && (lane & ((32 >> w) - 1)) == 0) slots[w] += steps * 32;
            if (w == 0) break;
            const unsigned long long other = __shfl_xor_sync(WARP, most, 32 >> w);
            most = other > most ? other : most;
        }
    }
#pragma unroll
    for (int w = 0; w < 6; ++w) {
#pragma unroll
        for (int mask = 16; mask; mask >>= 1) slots[w] += __shfl_xor_sync(WARP, slots[w], mask);
        if (lane == 0 && slots[w]) atomicAdd(counts + w, slots[w]);
    }
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) {
        const unsigned long long other = __shfl_xor_sync(WARP, longest, mask);
        longest = other > longest ? other : longest;
        occupied += __shfl_xor_sync(WARP, occupied, mask);
        entries += __shfl_xor_sync(WARP, entries, mask);
    }
    if (lane == 0) {
        atomicMax(counts + 6, longest);
        atomicAdd(counts + 7, occupied);
        atomicAdd(counts + 8, entries);
    }
}

// y = A x, A in CSR with rows of about the same length: LANES neighbouring lanes of a warp, a power of two, to a row.
//
// Shapes: begins and ends (rows), where each row's entries, or those of a panel of columns, begin and end; indices and
// data (nnz), x (columns). V is the type of the matrix's values, T that of x, y and all sums, I that of indices. Rows of
// more than `limit` entries are taken to have none. KIND says what rows are, and where their sums go: 0, all, to y
// (rows); 1, some, to y[numbers[row]], numbers (rows); 2, what all have in the first panel, to y; 3, what they have in a
// further panel, added to y. Neighbouring lanes read the same lines of a matrix in steps after each other: the cache
// next to them keeps these, but for panels, where it is of more use to x.
//
// Launch: (ceil(rows / (rounds * 8 * ROWS * 32 / LANES))) blocks of 256 threads. A block owns as many consecutive rows,
// and goes through them in rounds; in a round each of its 8 warps owns ROWS * 32 / LANES consecutive rows, and each
// lane takes every LANES-th entry of ROWS of them at the same time, so that many loads are under way at once. Where a
// round begins and ends is read a round ahead. Lanes then trade partial sums, so that every sum ends in one lane, which
// writes it. The order of additions depends on LANES and ROWS alone: the same bits each time.
#include "numbers.cuh"

// Adds up COUNT sums across 2 * WIDTH lanes: in each step a lane gives away half of its sums and gets others' shares of
// those it keeps; which ones it keeps is added to `first`.
template <int WIDTH, int COUNT, typename T>
__device__ __forceinline__ void add_up(T* sums, int lane, int& first) {
    if constexpr (WIDTH >= 1) {
        if constexpr (COUNT > 1) {
            const bool upper = lane & WIDTH;
#pragma unroll
            for (int i = 0; i < COUNT / 2; ++i) {
                const T kept = upper ? sums[i + COUNT / 2] : sums[i];
                const T given = upper ? sums[i] : sums[i + COUNT / 2];
                sums[i] = plus(kept, from_lane_across(given, WIDTH));
            }
            first += upper ? COUNT / 2 : 0;
            add_up<WIDTH / 2, COUNT / 2>(sums, lane, first);
        } else {
            sums[0] = plus(sums[0], from_lane_across(sums[0], WIDTH));
            add_up<WIDTH / 2, 1>(sums, lane, first);
        }
    }
}

template <typename V, typename T, typename I, int LANES, int ROWS, int KIND>
__global__ void __launch_bounds__(256) csr_vector(
    const long long rows, const int rounds, const I limit, const I* __restrict__ begins, const I* __restrict__ ends,
    const I* __restrict__ numbers, const I* __restrict__ indices, const V* __restrict__ data,
    const T* __restrict__ x, T* __restrict__ y) {
    typedef typename Position<I>::type P;
    constexpr int BESIDE = 32 / LANES;
    constexpr int STRIDE = 8 * ROWS * BESIDE;
    const int lane = threadIdx.x % LANES;
    const int beside = threadIdx.x % 32 / LANES;
    const int warp_row = threadIdx.x / 32 * (ROWS * BESIDE);
    long long row = static_cast<long long>(blockIdx.x) * rounds * STRIDE + warp_row;
    P next[ROWS], next_stop[ROWS];

    const auto look_up = [&](long long first) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const long long own = first + r * BESIDE + beside;
            const bool exists = own < rows;
            const I begin = read_again(exists, begins + own);
            const I end = read_again(exists, ends + own);
            next[r] = static_cast<P>(begin) + lane;
            next_stop[r] = end - begin <= limit ? static_cast<P>(end) : 0;
        }
    };

    look_up(row);
    // The condition is the same for all lanes of a warp, which shuffle below.
    for (int round = 0; round < rounds && row < rows; ++round, row += STRIDE) {
        P at[ROWS], stop[ROWS];
        T sums[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            at[r] = next[r];
            stop[r] = next_stop[r];
            sums[r] = T{};
        }
        if (round + 1 < rounds) look_up(row + STRIDE);
        bool more;
        do {
            V values[ROWS];
            I columns[ROWS];
            T factors[ROWS];
            more = false;
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const bool live = at[r] < stop[r];
                columns[r] = KIND < 2 ? read_again(live, indices + at[r]) : read_once(live, indices + at[r]);
                values[r] = KIND < 2 ? read_again(live, data + at[r]) : read_once(live, data + at[r]);
            }
            // A lane without an entry multiplies zeros of its own, not x[0], which may be infinite.
#pragma unroll
            for (int r = 0; r < ROWS; ++r) factors[r] = read_again(at[r] < stop[r], x + columns[r]);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                sums[r] = multiply_add(sums[r], values[r], factors[r]);
                at[r] += LANES;
                more |= at[r] < stop[r];
            }
        } while (more);

        __syncwarp();
        int first = 0;
        add_up<LANES / 2, ROWS>(sums, lane, first);
        constexpr int LEFT = ROWS > LANES ? ROWS / LANES : 1;
        constexpr int SAME = LANES > ROWS ? LANES / ROWS : 1;
        if (lane % SAME == 0) {
#pragma unroll
            for (int r = 0; r < LEFT; ++r) {
                const long long own = row + (first + r) * BESIDE + beside;
                if (own >= rows) continue;
                if constexpr (KIND == 0 || KIND == 2) y[own] = sums[r];
                if constexpr (KIND == 1) y[numbers[own]] = sums[r];
                if constexpr (KIND == 3) y[own] = plus(y[own], sums[r]);
            }
        }
    }
}

// y = A x, A in CSR with rows of any lengths: merge-path (Merrill and Garland, "Merge-based parallel sparse
// matrix-vector multiplication", SC 2016).
//
// The ends of the rows, indptr[1:], and the entries 0..nnz-1 are merged in order into one list of rows + nnz items, the
// end of a row after its entries, which is cut into tiles of TILE items, the last one shorter. A tile is a block's
// work; within it each thread owns ITEMS items in order. An empty row costs one item, a long row spreads over many
// tiles.
//
// Shapes: indptr (rows + 1), indices and data (nnz), x (columns), y (rows); tile_rows (tiles + 1): row ends before each
// tile, so that tile_rows[t + 1] is the row under way where tile t ends; carry (tiles): its sum so far in that tile. V
// is the type of the matrix's values, T that of x, y and all sums, I that of indices.
//
// Launch, in this order: csr_merge_tiles, once a matrix, a thread a boundary between tiles; csr_merge, a block of 256
// threads a tile, writes y, each row by the block where it ends; csr_merge_carries, a thread a tile, adds to y what
// rows had before. Additions happen in an order that depends on indptr alone: the same bits each time.
#include "numbers.cuh"

constexpr int THREADS = 256;
constexpr int ITEMS = 7;  // odd, so that threads that walk their products side by side meet different banks
constexpr int TILE = THREADS * ITEMS;

template <typename I>
__global__ void __launch_bounds__(THREADS) csr_merge_tiles(
    const long long rows, const long long nnz, const long long tiles, const I* __restrict__ indptr,
    long long* __restrict__ tile_rows) {
    const long long t = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (t > tiles) return;
    const long long diagonal = t * TILE < rows + nnz ? t * TILE : rows + nnz;
    long long low = diagonal > nnz ? diagonal - nnz : 0;
    long long high = diagonal < rows ? diagonal : rows;
    while (low < high) {
        const long long middle = low + (high - low) / 2;
        if (indptr[middle + 1] <= diagonal - middle - 1) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    tile_rows[t] = low;
}

template <typename V, typename T, typename I>
__global__ void __launch_bounds__(THREADS) csr_merge(
    const long long rows, const long long nnz, const long long* __restrict__ tile_rows, const I* __restrict__ indptr,
    const I* __restrict__ indices, const V* __restrict__ data, const T* __restrict__ x, T* __restrict__ y,
    T* __restrict__ carry) {
    __shared__ int ends[TILE + 1];  // of the tile's rows, counted from its first entry
    alignas(16) __shared__ char products_memory[TILE * sizeof(T)];
    alignas(16) __shared__ char warp_sums_memory[THREADS / 32 * sizeof(T)];
    __shared__ bool warp_ends[THREADS / 32];
    T* const products = reinterpret_cast<T*>(products_memory);
    T* const warp_sums = reinterpret_cast<T*>(warp_sums_memory);

    const long long tile = blockIdx.x;
    const long long first_item = tile * TILE;
    const long long last_item = first_item + TILE < rows + nnz ? first_item + TILE : rows + nnz;
    const long long first_row = tile_rows[tile];
    const int row_count = tile_rows[tile + 1] - first_row;
    const long long first_entry = first_item - first_row;
    const int total = last_item - first_item;
    const int entry_count = total - row_count;

    I columns[ITEMS];
    V values[ITEMS];
    T factors[ITEMS];
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const int e = threadIdx.x + k * THREADS;
        columns[k] = read_once(e < entry_count, indices + first_entry + e);
        values[k] = read_once(e < entry_count, data + first_entry + e);
    }
    for (int r = threadIdx.x; r <= row_count; r += THREADS) {
        // After the last end in this tile there is none that its entries reach.
        ends[r] = r < row_count ? static_cast<int>(indptr[first_row + r + 1] - first_entry) : TILE + 1;
    }
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        factors[k] = read_again(threadIdx.x + k * THREADS < entry_count, x + columns[k]);
    }
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) products[threadIdx.x + k * THREADS] = multiply_add(T{}, values[k], factors[k]);
    __syncthreads();

    const int diagonal = threadIdx.x * ITEMS < total ? threadIdx.x * ITEMS : total;
    int row = diagonal > entry_count ? diagonal - entry_count : 0;
    int high = diagonal < row_count ? diagonal : row_count;
    while (row < high) {
        const int middle = (row + high) / 2;
        if (ends[middle] <= diagonal - middle - 1) {
            row = middle + 1;
        } else {
            high = middle;
        }
    }
    int entry = diagonal - row;

    T sum{};
    T head{};         // of the first row that ends here: it may have begun in threads before
    int head_row = -1;
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        if (diagonal + k < total) {
            if (entry < ends[row]) {
                sum = plus(sum, products[entry]);
                ++entry;
            } else {
                if (head_row < 0) {
                    head = sum;
                    head_row = row;
                } else {
                    y[first_row + row] = sum;
                }
                sum = T{};
                ++row;
            }
        }
    }

    // What is left of each thread's last row, added up over threads until one in which a row ends.
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int ended = head_row >= 0;
    __syncwarp();
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const T other = from_lane_below(sum, distance);
        const int other_ended = __shfl_up_sync(WARP, ended, distance);
        if (lane >= distance) {
            if (!ended) sum = plus(other, sum);
            ended |= other_ended;
        }
    }
    if (lane == 31) {
        warp_sums[warp] = sum;
        warp_ends[warp] = ended;
    }
    T before = from_lane_below(sum, 1);
    int before_ended = __shfl_up_sync(WARP, ended, 1);
    if (lane == 0) {
        before = T{};
        before_ended = 0;
    }
    __syncthreads();
    T earlier{};  // left over by the warps before
    for (int w = 0; w < warp; ++w) earlier = warp_ends[w] ? warp_sums[w] : plus(earlier, warp_sums[w]);
    if (!before_ended) before = plus(earlier, before);
    if (head_row >= 0) y[first_row + head_row] = plus(before, head);
    if (threadIdx.x == THREADS - 1) carry[tile] = ended ? sum : plus(earlier, sum);
}

template <typename T, typename I>
__global__ void __launch_bounds__(THREADS) csr_merge_carries(
    const long long rows, const long long tiles, const long long* __restrict__ tile_rows,
    const I* __restrict__ indptr, const T* __restrict__ carry, T* __restrict__ y) {
    constexpr int SHORT = 8;
    __shared__ long long runs[THREADS];
    __shared__ int run_count;
    alignas(16) __shared__ char warp_sums_memory[THREADS / 32 * sizeof(T)];
    T* const warp_sums = reinterpret_cast<T*>(warp_sums_memory);
    if (threadIdx.x == 0) run_count = 0;
    __syncthreads();

    // A run: the neighbouring tiles that end within the same row. Its first tile's thread adds it up, if it is short.
    const long long tile = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (tile < tiles) {
        const long long row = tile_rows[tile + 1];
        if (row < rows && (tile == 0 || tile_rows[tile] != row)) {
            const long long stop = (indptr[row + 1] + row) / TILE;  // the tile in which the row ends
            if (stop - tile <= SHORT) {
                T sum = carry[tile];
                for (long long t = tile + 1; t < stop; ++t) sum = plus(sum, carry[t]);
                y[row] = plus(y[row], sum);
            } else {
                runs[atomicAdd(&run_count, 1)] = tile;  // in any order: each has a row to itself
            }
        }
    }
    __syncthreads();
    for (int run = 0; run < run_count; ++run) {
        const long long row = tile_rows[runs[run] + 1];
        const long long stop = (indptr[row + 1] + row) / TILE;
        T sum{};
#pragma unroll 4
        for (long long t = runs[run] + threadIdx.x; t < stop; t += THREADS) sum = plus(sum, carry[t]);
#pragma unroll
        for (int mask = 16; mask; mask >>= 1) sum = plus(sum, from_lane_across(sum, mask));
        if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int w = 1; w < THREADS / 32; ++w) sum = plus(sum, warp_sums[w]);
            y[row] = plus(y[row], sum);
        }
        __syncthreads();
    }
}

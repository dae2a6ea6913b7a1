// Where the entries of each row of CSR pass from one panel of columns, a range of them, into the next.
//
// Shapes: indptr (rows + 1), indices (nnz), rising in each row; cuts (panels - 1, rows), of which cuts[p - 1][row] is the
// row's first entry in panel p or later. Panel p of a matrix of so many columns begins at column p * columns / panels.
//
// Launch: (ceil(rows / 256), panels - 1) blocks of 256 threads, a thread a row and panel.

template <typename I>
__global__ void __launch_bounds__(256) csr_panels(
    const long long rows, const long long columns, const int panels, const I* __restrict__ indptr,
    const I* __restrict__ indices, I* __restrict__ cuts) {
    const long long row = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x;
    if (row >= rows) return;
    const long long bound = (blockIdx.y + 1) * columns / panels;
    I low = indptr[row], high = indptr[row + 1];
    while (low < high) {
        const I middle = low + (high - low) / 2;
        if (indices[middle] < bound) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    cuts[blockIdx.y * rows + row] = low;
}

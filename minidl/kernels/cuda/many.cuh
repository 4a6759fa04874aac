// For kernels that work on many arrays in one launch: see many.py, which puts the struct Row and
// the macros CAPACITY and CHUNK in front.

struct Table { Row rows[CAPACITY]; int count, first; };  // first: the number of block 0

// The row that a block works on.
__device__ inline const Row& row_of(const Table& table, int block)
{
    int k = 0;
    while (k + 1 < table.count && block >= table.rows[k + 1].first) k++;
    return table.rows[k];
}

// The elements of a row that belong to a block.
#define FOR_EACH_OF_CHUNK(i, row, block) \
    for (long long i = ((block) - (row).first) * (long long)CHUNK + threadIdx.x, \
         stop = min(i - threadIdx.x + (long long)CHUNK, (row).size); i < stop; i += blockDim.x)

// A product that is rounded before anything is added to it, as on the CPU; the compiler would
// otherwise fuse a·b + c into one operation. So both devices get the same bits.
__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }

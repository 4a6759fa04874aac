__device__ int warp_sum(int value) {
  for (int other = 16; other; other /= 2) value += __shfl_xor_sync(0xffffffffu, value, other);
  return value;
}

// A warp ranks one row: each lane counts, among every 32nd class, those before the right one.
extern "C" __global__ void ranks(
    const T* scores, const long long* labels, int* ranks, int rows, int classes) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;  // a whole warp
  const T* own = scores + (long long)row * classes;
  const long long label = labels[row];
  const bool known = label >= 0 && label < classes;
  const T right = own[known ? label : 0];
  int before = 0, lost = !known;
  for (int c = lane; c < classes; c += 32) {
    const T score = own[c];
    before += score > right || (score == right && c < label);
    lost |= score != score;  // NaN
  }
  before = warp_sum(before);
  lost = warp_sum(lost);
  if (lane == 0) ranks[row] = lost ? classes : before;
}

// One warp counts the rows whose rank is below k.
extern "C" __global__ void percent(const int* ranks, float* out, int rows, int k, float one) {
  int hits = 0;
  for (int row = threadIdx.x; row < rows; row += 32) hits += ranks[row] < k;
  hits = warp_sum(hits);
  if (threadIdx.x == 0) *out = hits * one;
}

// A block makes one row of one crop, a thread every blockDim-th pixel of it: it reads the pixel's
// channels, which are neighbors, and writes one number to each channel's plane of (C, N, h, w).
extern "C" __global__ void raw_to_input(
    const unsigned char* pixels, const int* place, const float* shift, const T* mean, const T* std,
    T* out, T white, bool mean_is_picture, int images, int channels, int height, int width, int h,
    int w) {
  const int n = blockIdx.x / h, y = blockIdx.x % h;
  const int left = place[3 * n + 1], row = place[3 * n] + y;
  const bool mirrored = place[3 * n + 2];
  for (int x = threadIdx.x; x < w; x += blockDim.x) {
    const int column = left + (mirrored ? w - 1 - x : x);
    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
    const long long pixel = (long long)row * width + column;
    const unsigned char* from = pixels + ((long long)n * height * width + pixel) * channels;
    const T* center = mean + (mean_is_picture ? ((long long)y * w + x) * channels : 0);
    T* to = out + ((long long)n * h + y) * w + x;
    for (int c = 0; c < channels; ++c)
      to[(long long)c * images * h * w] =
          inside ? (from[c] / white + shift[(long long)n * channels + c] - center[c]) / std[c] : 0;
  }
}

#include "geometry.cuh"

// How many rows (or columns) of window o count in its mean. Padding does if `count_padding`, but
// never the overhang that ceil_mode adds behind it.
__device__ int counted(int o, int kernel, int stride, int before, int size, bool count_padding)
{
    const int start = o * stride - before, end = min(start + kernel, size + before);
    return count_padding ? end - start : min(end, size) - max(start, 0);
}

#define DIVISOR(oh, ow) \
    (divisor != 0 ? divisor \
                  : T(counted(oh, kernel_h, stride_h, top, height, count_padding)) \
                        * counted(ow, kernel_w, stride_w, left, width, count_padding))

// One thread a window: its sum, row by row, by its divisor (`divisor`, if that is not 0).
extern "C" __global__ void average_forward(
    const T* x, T* y, int planes, bool count_padding, T divisor, GEOMETRY)
{
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const Index row = i / out_w, plane = row / out_h;
        const int oh = row - plane * out_h, ow = i - row * out_w;
        const int first_h = oh * stride_h - top, first_w = ow * stride_w - left;
        const int end_h = min(first_h + kernel_h, height), end_w = min(first_w + kernel_w, width);
        const T* image = x + plane * height * width;
        T sum = 0;
        for (int h = max(first_h, 0); h < end_h; h++) {
            T across = 0;
            for (int w = max(first_w, 0); w < end_w; w++) across += image[h * width + w];
            sum += across;
        }
        y[i] = sum / DIVISOR(oh, ow);
    }
}

// One thread a pixel: its shares of the gradients of all windows that cover it.
extern "C" __global__ void average_backward(
    const T* dy, T* dx, int planes, bool count_padding, T divisor, GEOMETRY)
{
    FOR_EACH(i, (long long)planes * height * width) {
        const Index row = i / width, plane = row / height;
        const int down = (int)(row - plane * height) + top, right = (int)(i - row * width) + left;
        const int last_h = min(down / stride_h, out_h - 1);
        const int last_w = min(right / stride_w, out_w - 1);
        const T* windows = dy + plane * out_h * out_w;
        T sum = 0;
        for (int oh = last_h; oh >= 0 && down - oh * stride_h < kernel_h; oh--) {
            T across = 0;
            for (int ow = last_w; ow >= 0 && right - ow * stride_w < kernel_w; ow--)
                across += windows[oh * out_w + ow] / DIVISOR(oh, ow);
            sum += across;
        }
        dx[i] = sum;
    }
}

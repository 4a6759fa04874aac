#include "geometry.cuh"

// Places have as few bytes as number the entries of a window, and one more for "none".
__device__ void put_place(void* places, int bytes, long long i, unsigned int place)
{
    if (bytes == 1) ((unsigned char*)places)[i] = place;
    else if (bytes == 2) ((unsigned short*)places)[i] = place;
    else if (bytes == 4) ((unsigned int*)places)[i] = place;
}

__device__ unsigned int get_place(const void* places, int bytes, long long i)
{
    if (bytes == 1) return ((const unsigned char*)places)[i];
    if (bytes == 2) return ((const unsigned short*)places)[i];
    return ((const unsigned int*)places)[i];
}

// One thread a window: the largest number and, unless `bytes` is 0, its place.
extern "C" __global__ void max_forward(
    const T* x, T* y, void* places, int planes, int bytes, A infinity, GEOMETRY)
{
    const int none = kernel_h * kernel_w;
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const Index row = i / out_w, plane = row / out_h;
        const int first_h = (int)(row - plane * out_h) * stride_h - top;
        const int first_w = (int)(i - row * out_w) * stride_w - left;
        const T* image = x + plane * height * width;
        A best = -infinity;
        int place = none;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int h = first_h + kh * dilation_h;
            if (h < 0 || h >= height) continue;
            for (int kw = 0; kw < kernel_w; kw++) {
                const int w = first_w + kw * dilation_w;
                if (w < 0 || w >= width) continue;
                const A value = image[h * width + w];
                // The first number counts even if it is minus infinity; later ones must be larger.
                // NaN is not less or equal, and nothing takes its place.
                if (place == none || (!(value <= best) && best == best)) {
                    best = value;
                    place = kh * kernel_w + kw;
                }
            }
        }
        y[i] = best;
        put_place(places, bytes, i, place);
    }
}

// Which entry of a window stands `distance` after its first; -1 if the dilation leaves that out.
__device__ int entry_at(int distance, int dilation)
{
    if (dilation == 1) return distance;
    return distance % dilation == 0 ? distance / dilation : -1;
}

// One thread a pixel: it adds up the gradients of those windows that cover it and have their
// maximum there. Windows from the last to the first are entries from the first to the last.
extern "C" __global__ void max_backward(
    const T* dy, const void* places, T* dx, int planes, int bytes, GEOMETRY)
{
    const int reach_h = dilation_h * (kernel_h - 1), reach_w = dilation_w * (kernel_w - 1);
    FOR_EACH(i, (long long)planes * height * width) {
        const Index row = i / width, plane = row / height;
        const int down = (int)(row - plane * height) + top, right = (int)(i - row * width) + left;
        const int last_h = min(down / stride_h, out_h - 1);
        const int last_w = min(right / stride_w, out_w - 1);
        A sum = 0;
        for (int oh = last_h; oh >= 0 && down - oh * stride_h <= reach_h; oh--) {
            const int kh = entry_at(down - oh * stride_h, dilation_h);
            if (kh < 0) continue;
            for (int ow = last_w; ow >= 0 && right - ow * stride_w <= reach_w; ow--) {
                const int kw = entry_at(right - ow * stride_w, dilation_w);
                const long long window = (plane * out_h + oh) * out_w + ow;
                if (kw >= 0 && get_place(places, bytes, window) == kh * kernel_w + kw)
                    sum += A(dy[window]);
            }
        }
        dx[i] = sum;
    }
}

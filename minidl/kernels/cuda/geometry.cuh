// Where the windows lie on a plane: one channel of one image, of height x width numbers.
#define GEOMETRY \
    int height, int width, int out_h, int out_w, int kernel_h, int kernel_w, \
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left

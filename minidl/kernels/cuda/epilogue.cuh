// What a kernel does to a number in passing: 0 nothing, 1 ReLU. See kernels/epilogue.py.
#define RELU 1

__device__ inline A activate(A x, int epilogue)
{
    return epilogue == RELU && x < 0 ? A(0) : x;  // NaN stays
}

// Whether a gradient passes back through the epilogue whose result is y.
__device__ inline bool passes(A y, int epilogue)
{
    return epilogue != RELU || y > 0;
}

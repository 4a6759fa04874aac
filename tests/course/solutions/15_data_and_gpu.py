"""The exercises of page 15_data_and_gpu, solved without the library."""


def random_crop(picture, size, rng):
    top, left = (rng.integers(side - size + 1) for side in picture.shape[1:])
    return picture[:, top : top + size, left : left + size]


def pca_jitter(picture, values, vectors, alpha):
    return picture + (vectors @ (alpha * values))[:, None, None]


def readers(position, size, kernel, stride):
    starts = range(0, size - kernel + 1, stride)
    found = [i for i, start in enumerate(starts) if start <= position < start + kernel]
    return (found[0], found[-1] + 1) if found else (0, 0)

"""Data sets, samplers and the loader: everything between files and batches."""

from ..missing import attributes
from .dataset import (
    ChainDataset, ConcatDataset, Dataset, IterableDataset, StackDataset, Subset, TensorDataset,
    random_split,
)  # fmt: skip
from .distributed import DistributedSampler
from .loader import DataLoader, WorkerInfo, default_collate, default_convert, get_worker_info
from .notes import note
from .sampler import (
    BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler,
    WeightedRandomSampler,
)  # fmt: skip
from .stream import sample_stream
from .upload import DeviceBatches

__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "DeviceBatches",
    "DistributedSampler", "IterableDataset", "RandomSampler", "Sampler", "SequentialSampler",
    "StackDataset", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler",
    "WorkerInfo", "default_collate", "default_convert", "get_worker_info", "note",
    "random_split", "sample_stream",
]  # fmt: skip

__getattr__ = attributes(globals())

"""One of several processes that train together, as ``torchrun`` starts it; ``test_several_processes.py`` runs two.

Arguments: a config file, and a folder. It trains into ``two``, takes the run up again from its first checkpoint in
``resumed``, tries a batch that cannot be shared, and writes what it saw into ``seen-RANK.json``.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed

from mmgrad_explain.errors import InputError
from mmgrad_explain.training import trainer as module
from mmgrad_explain.training.config_file import load_config
from mmgrad_explain.training.run import train
from mmgrad_explain.training.trainer import GroundedTrainer


def plain_descent(self, model=None):
    """In the place of AdamW, which divides by the gradient's size and makes a step of what rounding leaves."""
    if self.optimizer is None:
        parameters = [one for one in (model or self.model).parameters() if one.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=self.config.optimizer.lr)
    return self.optimizer


def main(config, folder):
    GroundedTrainer.create_optimizer = plain_descent
    real, evaluated = module.evaluate_batches, []
    module.evaluate_batches = lambda *given: evaluated.append(1) or real(*given)
    result = train(config, folder / "two")
    rank = distributed.get_rank()
    if rank == 0:
        shutil.copytree(folder / "two", folder / "resumed")
        shutil.rmtree(folder / "resumed" / "checkpoints" / f"checkpoint-{config.steps}")
    distributed.barrier()
    seen = {"evaluated": len(evaluated), "step": result.step, "figures": result.figures}
    train(config, folder / "resumed", resume=True)
    scenes = replace(config.sources["scenes"], pictures=3)
    try:
        train(replace(config, sources={"scenes": scenes}), folder / "uneven")
    except InputError as error:
        seen["refused"] = str(error)
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(load_config(sys.argv[1]), Path(sys.argv[2]))

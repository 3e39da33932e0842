"""What models learn with."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clm_spark.settings.section import Section


class SegmentSettings(Section):
    """K-Means."""

    k_from: Annotated[int, Field(ge=2)] = 3
    k_to: Annotated[int, Field(ge=2)] = 8
    seed: int = 7


class ChurnSettings(Section):
    """What churn means in this shop."""

    horizon_days: Annotated[int, Field(ge=1)] = Field(56, description="churned: no purchase in so many days from as_of")
    active_days: Annotated[int, Field(ge=1)] = Field(
        84, description="asked of customers who bought in so many days before"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 60
    max_depth: Annotated[int, Field(ge=1)] = 2
    step_size: float = 0.05
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of the rows that each tree sees")
    feature_share: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="share of the features per split")
    min_leaf_customers: Annotated[int, Field(ge=1)] = 100
    seed: int = 7


class AlsSettings(Section):
    """Implicit-feedback ALS (Hu, Koren, Volinsky 2008)."""

    rank: Annotated[int, Field(ge=1)] = 128
    iterations: Annotated[int, Field(ge=1)] = 4
    alpha: float = Field(0.2, description="confidence gained per unit of strength: a purchase is 5 by default")
    regularization: float = 0.1
    blocks: Annotated[int, Field(ge=1)] = Field(4, description="tasks per side; about the number of cores, or more")
    seed: int = 7


class TransformerSettings(Section):
    """The next-item decoder and its training."""

    launcher: Literal["horovod", "torch_distributor", "one_process"] = "horovod"
    ranks: Annotated[int, Field(ge=1)] | None = Field(
        None, description="processes that train together; None: 2, and one where Spark has a single task slot"
    )
    layers: Annotated[int, Field(ge=1)] = 1
    heads: Annotated[int, Field(ge=1)] = 2
    width: Annotated[int, Field(ge=8)] = 64
    max_length: Annotated[int, Field(ge=2)] = Field(256, description="last items of a customer that are looked at")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    horizon: Annotated[int, Field(ge=1)] = Field(100, description="next items that a prediction is asked for")
    steps: Annotated[int, Field(ge=1)] = Field(48, description="predictions asked of a customer per epoch")
    negatives: Annotated[int, Field(ge=1)] = Field(256, description="items drawn against each batch")
    batch_size: Annotated[int, Field(ge=1)] = Field(8, description="customers per rank and step")
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    epochs: Annotated[int, Field(ge=1)] = 3
    finetune_epochs: Annotated[int, Field(ge=1)] = Field(
        1, description="passes over the days held out, after evaluation"
    )
    seed: int = 7

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerSettings":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, which are {self.heads}")
        return self

"""What the transformer is trained with."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from clm_spark.settings import Section


class TransformerSettings(Section):
    """The next-item decoder and its training."""

    key: ClassVar[str] = "transformer"

    launcher: Literal["horovod", "torch_distributor", "one_process"] = "horovod"
    ranks: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="processes that train together, which the batch grows with; None: 2, and one where Spark has a single task slot",
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
        1, description="passes over all sequences of as_of, on from the model that was tested"
    )
    seed: int = 7

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerSettings":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, which are {self.heads}")
        return self

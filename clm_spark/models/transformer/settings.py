"""What the transformer is built and trained with."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from clm_spark.settings import Section, Seed


class TransformerSettings(Section):
    """The network that tells the next item, and its training."""

    key: ClassVar[str] = "transformer"

    launcher: Literal["horovod", "torch_distributor", "one_process"] = "horovod"
    ranks: Annotated[int, Field(ge=1)] | None = Field(
        None, description="processes that train together; None: 2, and one where Spark has a single task slot"
    )
    layers: Annotated[int, Field(ge=1)] = 1
    heads: Annotated[int, Field(ge=1)] = 2
    width: Annotated[int, Field(ge=8)] = 64
    attention: Literal["causal", "both_sides"] = Field(
        "causal",
        description="causal: a step sees what came before it; both_sides: an encoder that tells masked items from both "
        "sides, as BERT4Rec does, and the next one as a masked item behind the last",
    )
    masked_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="share of a sequence's items that is masked at once, where attention is both_sides"
    )
    positions: Literal["learned", "rotary"] = Field("learned", description="how a step knows its place")
    max_length: Annotated[int, Field(ge=2)] = Field(
        255,
        description="last items of a customer that are looked at; less than features.sequence_length, since the last one that is "
        "stored is what training asks for",
    )
    time_gaps: bool = Field(True, description="whether an event knows how long ago the one before it was")
    price_bands: bool = Field(False, description="whether an event knows about what its item cost")
    item_categories: bool = Field(
        False, description="whether items of one category share a vector, from which rare and new items begin"
    )
    item_text: tuple[str, ...] = Field(
        (),
        description="what an item's text is made of: category, brand, or attributes of its events such as a title or a "
        "review; none: items have no text",
    )
    text_encoder: str | None = Field(
        None,
        description="the Hugging Face encoder of the texts: a folder that every worker sees, or a name on the hub",
    )
    text_tokens: Annotated[int, Field(ge=1)] = Field(64, description="first tokens of a text that are looked at")
    text_tuning: Literal["frozen", "lora"] = Field(
        "frozen", description="whether the encoder stays as it is, or is trained along by LoRA adapters"
    )
    text_lora_rank: Annotated[int, Field(ge=1)] = Field(8, description="rank of these adapters")
    lora_rank: Annotated[int, Field(ge=0)] = Field(
        0,
        description="rank of the LoRA adapters by which the matrices in the layers of a model that is fine-tuned change; 0: these "
        "are trained as they are",
    )
    repeat_memory: bool = Field(
        True, description="whether a head remembers what the customer took before; of no use where nobody buys again"
    )
    item_bias: bool = Field(
        True, description="whether an item's score has a part of its own, which starts at its popularity"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    horizon: Annotated[int, Field(ge=1)] = Field(100, description="next items that a prediction is asked for")
    steps: Annotated[int, Field(ge=1)] = Field(48, description="predictions asked of a customer per epoch")
    negatives: Annotated[int, Field(ge=0)] = Field(
        256,
        description="items drawn against each batch; 0, or as many as there are items: all of them, the full softmax",
    )
    frequent_negatives: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the negatives drawn by how often items were taken, as others of a batch are"
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(16, description="customers per step, of all ranks together")
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    rate: Literal["cosine", "constant"] = Field(
        "cosine",
        description="of learning after the warm-up: down to a twentieth over the epochs, or the same throughout",
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    epochs: Annotated[int, Field(ge=1)] = Field(3, description="passes over all sequences, at most")
    purchase_epochs: Annotated[int, Field(ge=0)] = Field(
        0,
        description="passes after these that ask for purchases alone; where there are some, validation looks at the last "
        "purchase, and a model that was tested is fine-tuned with purchases alone",
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="epochs without a better NDCG@10 on the validation customers' last item, after which training "
        "stops and the best epoch's weights are kept; None: train for all epochs, as fine-tuning does",
    )
    validation_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="share of the customers whose last item is kept for validation, where there is patience"
    )
    finetune_epochs: Annotated[int, Field(ge=1)] = Field(
        1,
        description="passes over the sequences of the customers with new events, where training goes on from the model that was "
        "tested or is in use",
    )
    finetune_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1,
        description="the share of learning_rate at which these passes learn: at all of it a day's news undo more than they teach",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on GPUs that multiply it, else fp32"
    )
    compile: bool = Field(False, description="whether torch compiles the network; pays on GPUs and long trainings")
    seed: Seed = 7

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerSettings":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, which are {self.heads}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError("rotary positions turn pairs of numbers: width / heads must be even")
        return self

    @model_validator(mode="after")
    def _texts_have_an_encoder(self) -> "TransformerSettings":
        if self.item_text and self.text_encoder is None:
            raise ValueError(
                "item_text names texts, but text_encoder names no encoder: give the folder of a Hugging Face model or its "
                "name on the hub, or set transformer.item_text=[]"
            )
        if not self.item_text and (self.text_encoder is not None or self.text_tuning != "frozen"):
            raise ValueError(
                "text_encoder and text_tuning are of texts, but item_text names none: name some, such as category, or "
                "leave them out"
            )
        return self

    @model_validator(mode="after")
    def _one_process_is_one_rank(self) -> "TransformerSettings":
        if self.launcher == "one_process" and (self.ranks or 1) > 1:
            raise ValueError(
                f"launcher one_process trains in one process, and ranks asks for {self.ranks}: leave ranks out, or take the "
                "launcher horovod or torch_distributor"
            )
        return self

    @model_validator(mode="after")
    def _all_items_need_no_draws(self) -> "TransformerSettings":
        if not self.negatives and self.frequent_negatives:
            raise ValueError("negatives 0 takes all items, so none is drawn by frequency: set frequent_negatives to 0")
        return self

    @model_validator(mode="after")
    def _an_encoder_is_asked_for_the_masked_item_alone(self) -> "TransformerSettings":
        if self.attention == "both_sides" and self.horizon > 1:
            raise ValueError("attention both_sides sees the items after a masked one: it needs horizon 1")
        return self

"""What the ranker is asked with."""

from typing import Annotated, ClassVar

from pydantic import Field

from clm_spark.settings import Section, Seed

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class CandidateSettings(Section):
    """Items that a customer might buy, from several sources, and what the sources know."""

    key: ClassVar[str] = "candidates"
    own: Count = Field(400, description="items that the customer bought, the strongest first")
    looked_at: Count = Field(50, description="items viewed or carted on a day without buying them, the latest first")
    popular: Count = Field(60, description="items bought most, ever and of late: each")
    from_neighbours: Count = Field(100, description="items that like customers buy")
    from_items: Count = Field(50, description="items bought together with the customer's, and after them: each")
    from_als: Annotated[int, Field(ge=0)] = Field(
        0, description="items with the largest product of ALS factors, such as 50; 0: ALS is left out"
    )
    from_category: Annotated[int, Field(ge=0)] = Field(
        30, description="items that sell best of late in the categories that the customer takes to; 0: left out"
    )
    from_transformer: Annotated[int, Field(ge=0)] = Field(
        0,
        description="items that a transformer expects next, such as 100, trained as the section transformer says on the "
        "customers of reference; 0: it is left out",
    )
    from_content: Annotated[int, Field(ge=0)] = Field(
        0, description="items whose texts are most like those of what the customer took to, such as 50; 0: left out"
    )
    item_text: tuple[str, ...] = Field(
        ("category", "brand"),
        description="what an item's text is made of: category, brand, or attributes of its events such as a title",
    )
    text_encoder: str | None = Field(
        None,
        description="the Hugging Face encoder of the texts: a folder that every worker sees, or a name on the hub; none: "
        "texts are alike by their words",
    )
    text_words: Count = Field(64, description="first words of a text, or the encoder's tokens, that are looked at")
    content_dimensions: Count = Field(64, description="of a text's vector: more are reduced to these")
    look_weight: Annotated[float, Field(ge=0)] = Field(
        0.2,
        description="what a day with looks at an item counts for ALS, categories and texts, where one with a purchase is 1",
    )
    neighbours: Count = Field(300, description="customers whose baskets are most like the customer's")
    reference_customers: Count = Field(
        10_000, description="customers, drawn by hash, among whom neighbours are looked for: cost is linear in it"
    )
    neighbours_per_item: Count = Field(100, description="items kept beside each item that was bought with it")
    tastes: Count = Field(64, description="dimensions of the truncated SVD of who bought what")
    als_rank: Count = 32
    als_iterations: Count = 4
    als_alpha: Annotated[float, Field(gt=0)] = Field(
        1.0, description="confidence gained per purchase that has not faded"
    )
    als_regularization: Annotated[float, Field(gt=0)] = 0.1
    longest_history: Count = Field(5_000, description="latest lines of a customer that are looked at")
    seed: Seed = 7


class RankerSettings(Section):
    """Boosted trees that rank the candidates."""

    key: ClassVar[str] = "ranker"
    panels: Count = Field(
        3, description="past mornings trained on, recommend.test_days apart; fewer where days are few"
    )
    customers_per_panel: Count = Field(20_000, description="customers of each morning that are trained on, by hash")
    negative_share: Share = Field(0.3, description="share of the candidates not bought that is trained on, weighted up")
    num_trees: Count = Field(400, description="at most")
    depths: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (4, 6),
        description="depths of the trees that are tried, the one with the lowest log loss on the validation customers is "
        "kept: a small shop's few purchases bear less deep ones; each takes a training",
    )
    validation_share: Share = Field(
        0.1, description="share of the customers, by hash, on whom early stopping is judged"
    )
    patience: Count = Field(
        40, description="trees without a lower log loss on these customers, after which no more are made"
    )
    step_size: Annotated[float, Field(gt=0)] = 0.04
    subsample: Share = 0.8
    feature_share: Share = Field(0.3, description="share of the features per tree")
    min_leaf_weight: Annotated[float, Field(ge=0)] = 20.0
    num_workers: Count = Field(1, description="Spark tasks that train together; each holds its part of the rows")
    seed: Seed = 7

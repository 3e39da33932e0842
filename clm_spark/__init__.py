"""An e-commerce shop's customer lifecycle on Apache Spark and Delta Lake."""

__version__ = "0.2.0"

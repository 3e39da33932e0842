"""Copy Delta's jars, with what they depend on, from Maven Central into a folder: `fetch_jars.py FOLDER`."""

import shutil
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from clm_spark.session import DELTA_PACKAGE

with tempfile.TemporaryDirectory() as ivy:
    conf = {"spark.master": "local[1]", "spark.jars.packages": DELTA_PACKAGE, "spark.jars.ivy": ivy}
    SparkSession.builder.config(map=conf).getOrCreate().stop()
    for jar in Path(ivy).glob("jars/*.jar"):
        shutil.copy2(jar, Path(sys.argv[1]) / jar.name)

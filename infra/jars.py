"""Jars of Maven Central with all they need, fetched by Spark's own resolver into its cache: no Maven is needed."""

from pyspark.java_gateway import launch_gateway


def fetch_jars(*coordinates: str) -> list[str]:
    """The files of these `group:artifact:version` and of what they depend on, but for what Spark brings itself."""
    gateway = launch_gateway()
    try:
        jvm = gateway.jvm
        quiet = jvm.java.io.PrintStream(jvm.java.io.OutputStream.nullOutputStream())
        none = getattr(getattr(jvm.scala, "None$"), "MODULE$")
        maven = getattr(getattr(jvm.org.apache.spark.util, "MavenUtils$"), "MODULE$")
        nothing = getattr(getattr(jvm.scala.collection.immutable, "Nil$"), "MODULE$")
        found = maven.resolveMavenCoordinates(
            ",".join(coordinates), maven.buildIvySettings(none, none, True, quiet), none, True, nothing, False, quiet
        )
        return [str(found.apply(place)) for place in range(found.size())]
    finally:
        gateway.shutdown()

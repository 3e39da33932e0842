"""`python -m clm_spark`, and the file to give to spark-submit, are the command line `clm`."""

from clm_spark.cli import main

if __name__ == "__main__":
    main()

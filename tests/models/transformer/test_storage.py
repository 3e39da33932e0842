from clm_spark.models.transformer.storage import readable


def test_delta_rs_is_told_what_spark_knows(spark):
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    told = {
        "fs.s3a.endpoint": "minio:9000",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.path.style.access": "true",
        "fs.s3a.access.key": "everybody's",
        "fs.s3a.bucket.shop.access.key": "the bucket's",
        "fs.s3a.bucket.shop.secret.key": "secret",
        "fs.azure.account.key.acc.dfs.core.windows.net": "azure",
        "fs.azure.account.oauth2.client.endpoint": "https://login.example/tenant/oauth2/token",
        "dfs.nameservices": "ours",
    }
    for name, value in told.items():
        conf.set(name, value)
    try:
        of_bucket = {
            "aws_access_key_id": "the bucket's", "aws_secret_access_key": "secret",
            "aws_endpoint": "http://minio:9000", "aws_region": "us-east-1", "aws_allow_http": "true",
            "aws_virtual_hosted_style_request": "false",
        }  # fmt: skip
        assert readable("s3a://shop/lake/t") == ("s3://shop/lake/t", of_bucket)
        assert readable("s3a://other/t")[1]["aws_access_key_id"] == "everybody's"
        azure = "abfss://box@acc.dfs.core.windows.net/t"
        assert readable(azure) == (azure, {"account_key": "azure", "tenant_id": "tenant"})
        assert readable("hdfs://ours/t") == ("hdfs://ours/t", {"dfs.nameservices": "ours"})
    finally:
        for name in told:
            conf.unset(name)
    assert readable("s3a://shop/t") == ("s3://shop/t", {})
    assert readable("file:/lake/a%20b") == ("/lake/a b", {})

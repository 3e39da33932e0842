"""Where delta-rs finds a table that Spark writes, and by which keys: Spark's Hadoop settings in delta-rs' words."""

from urllib.parse import unquote, urlsplit

from clm_spark.files import hadoop_secret, hadoop_settings

Options = dict[str, str]

HDFS_CLUSTER = ("nameservices", "ha.namenodes.", "namenode.rpc-address", "client.failover.")


def readable(location: str) -> tuple[str, Options]:
    """The location as delta-rs knows it, and its storage options. Spark's driver knows them; ranks get them from it."""
    scheme = urlsplit(location).scheme
    if scheme == "file":
        return unquote(urlsplit(location).path), {}  # Spark writes `file:/path`
    if scheme in ("s3a", "s3n", "s3"):
        return f"s3{location.removeprefix(scheme)}", _s3_options(urlsplit(location).netloc)
    if scheme in ("abfss", "abfs"):
        return location, _azure_options(urlsplit(location).hostname or "")
    if scheme == "hdfs":
        cluster = hadoop_settings("dfs.")
        return location, {f"dfs.{name}": value for name, value in cluster.items() if name.startswith(HDFS_CLUSTER)}
    return location, {}


def _s3_options(bucket: str) -> Options:
    """Of `fs.s3a.*`, a bucket's own first. Where these hold no keys, delta-rs asks the machine for some, as S3A does."""
    of_bucket = f"fs.s3a.bucket.{bucket}."
    options = hadoop_settings("fs.s3a.") | hadoop_settings(of_bucket)
    keys = {
        ours: hadoop_secret(f"{of_bucket}{name}") or hadoop_secret(f"fs.s3a.{name}")
        for ours, name in (
            ("aws_access_key_id", "access.key"),
            ("aws_secret_access_key", "secret.key"),
            ("aws_session_token", "session.token"),
        )
    }
    endpoint = options.get("endpoint", "").strip()
    if endpoint and "://" not in endpoint:
        endpoint = f"{'https' if options.get('connection.ssl.enabled') == 'true' else 'http'}://{endpoint}"
    is_virtual_hosted = options.get("path.style.access") != "true"
    return _those_set(
        **keys,
        aws_endpoint=endpoint,
        aws_region=options.get("endpoint.region", "").strip() or ("us-east-1" if endpoint else None),
        aws_allow_http="true" if endpoint.startswith("http://") else None,
        aws_virtual_hosted_style_request=str(is_virtual_hosted).lower() if endpoint else None,
    )


def _azure_options(account_host: str) -> Options:
    """The account's key, or the application by which Spark signs in."""
    options = hadoop_settings("fs.azure.account.oauth2.client.")
    sign_in_url = options.get(f"endpoint.{account_host}") or options.get("endpoint", "")
    return _those_set(
        account_key=hadoop_secret(f"fs.azure.account.key.{account_host}"),
        client_id=options.get(f"id.{account_host}") or options.get("id"),
        client_secret=hadoop_secret(f"fs.azure.account.oauth2.client.secret.{account_host}")
        or hadoop_secret("fs.azure.account.oauth2.client.secret"),
        tenant_id=urlsplit(sign_in_url).path.strip("/").split("/")[0],
    )


def _those_set(**options: str | None) -> Options:
    return {name: value for name, value in options.items() if value}

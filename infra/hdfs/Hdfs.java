import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** A name node and two data nodes on loopback, until standard input ends. Started by hdfs.py. */
public class Hdfs {
    public static void main(String[] arguments) throws Exception {
        Configuration conf = new Configuration();
        conf.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, arguments[0]);
        conf.set("dfs.permissions.enabled", "false");
        try (MiniDFSCluster cluster = new MiniDFSCluster.Builder(conf).numDataNodes(2).build()) {
            cluster.waitActive();
            System.out.println("ready " + cluster.getURI());
            while (System.in.read() != -1) {
            }
        }
    }
}

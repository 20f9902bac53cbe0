// Scandium as a DTLS server that sends back what it gets. The line "heap" makes it collect, and print how many bytes it holds then.
// Arguments: port, PEM file with key and certificate ("-" for a pre-shared key).

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.eclipse.californium.elements.RawData;
import org.eclipse.californium.elements.config.CertificateAuthenticationMode;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.SslContextUtil;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.CertificateType;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedMultiPskStore;
import org.eclipse.californium.scandium.dtls.x509.SingleCertificateProvider;
import org.eclipse.californium.scandium.dtls.x509.StaticNewAdvancedCertificateVerifier;

public class ScandiumServer {
    public static void main(String[] arguments) throws Exception {
        Configuration settings = new Configuration();
        settings.set(DtlsConfig.DTLS_ROLE, DtlsRole.SERVER_ONLY);
        settings.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        settings.set(DtlsConfig.DTLS_RECEIVER_THREAD_COUNT, 1);
        settings.set(DtlsConfig.DTLS_CONNECTOR_THREAD_COUNT, 1);
        boolean certified = !arguments[1].equals("-");
        settings.set(DtlsConfig.DTLS_CIPHER_SUITES, certified
            ? Arrays.asList(CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8)
            : Arrays.asList(CipherSuite.TLS_PSK_WITH_AES_128_CCM_8, CipherSuite.TLS_PSK_WITH_AES_128_GCM_SHA256));
        settings.set(DtlsConfig.DTLS_CLIENT_AUTHENTICATION_MODE, CertificateAuthenticationMode.NEEDED);
        DtlsConnectorConfig.Builder builder = DtlsConnectorConfig.builder(settings);
        builder.setAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[0])));
        if (certified) {
            SslContextUtil.Credentials own = SslContextUtil.loadCredentials(arguments[1], null, null, null);
            builder.setCertificateIdentityProvider(
                new SingleCertificateProvider(own.getPrivateKey(), own.getCertificateChain(), CertificateType.X_509));
            builder.setAdvancedCertificateVerifier(
                StaticNewAdvancedCertificateVerifier.builder().setTrustAllCertificates().build());
        } else {
            AdvancedMultiPskStore keys = new AdvancedMultiPskStore();
            keys.setKey("sensor1@DEFAULT_TENANT", "secret1".getBytes(StandardCharsets.UTF_8));
            builder.setAdvancedPskStore(keys);
        }
        DTLSConnector connector = new DTLSConnector(builder.build());
        connector.setRawDataReceiver(
            raw -> connector.send(RawData.outbound(raw.getBytes(), raw.getEndpointContext(), null, false)));
        connector.start();
        System.out.println("listening");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        while (lines.readLine() != null) {
            System.gc();
            Runtime runtime = Runtime.getRuntime();
            System.out.println(runtime.totalMemory() - runtime.freeMemory());
        }
    }
}

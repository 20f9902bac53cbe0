// Many DTLS sessions on Scandium, one after the other, steered by lines: what it reads it sends, what it receives it prints behind "< ".
// "OPEN PORT SUITE ID-LENGTH MTU PEM" begins anew, with "-" for what is not wanted; "RESUME" makes the next line go out on a resumed
// session; "CLOSE" ends it.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Collections;

import org.eclipse.californium.elements.AddressEndpointContext;
import org.eclipse.californium.elements.RawData;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.SslContextUtil;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.CertificateType;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedSinglePskStore;
import org.eclipse.californium.scandium.dtls.x509.SingleCertificateProvider;
import org.eclipse.californium.scandium.dtls.x509.StaticNewAdvancedCertificateVerifier;

public class Matrix {
    public static void main(String[] arguments) throws Exception {
        DTLSConnector connector = null;
        InetSocketAddress server = null;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("OPEN")) {
                server = new InetSocketAddress("127.0.0.1", Integer.parseInt(words[1]));
                connector = open(words);
                System.out.println("opened");
            } else if (line.equals("RESUME")) {
                connector.forceResumeAllSessions();
            } else if (line.equals("CLOSE")) {
                connector.destroy();
                System.out.println("closed");
            } else {
                byte[] data = line.getBytes(StandardCharsets.UTF_8);
                connector.send(RawData.outbound(data, new AddressEndpointContext(server), null, false));
            }
        }
    }

    private static DTLSConnector open(String[] words) throws Exception {
        CipherSuite suite = CipherSuite.getTypeByCode(Integer.parseInt(words[2]));
        Configuration settings = new Configuration();
        settings.set(DtlsConfig.DTLS_ROLE, DtlsRole.CLIENT_ONLY);
        settings.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        settings.set(DtlsConfig.DTLS_CIPHER_SUITES, Collections.singletonList(suite));
        settings.set(DtlsConfig.DTLS_VERIFY_SERVER_CERTIFICATES_SUBJECT, false);
        settings.set(DtlsConfig.DTLS_RECEIVER_THREAD_COUNT, 1);
        settings.set(DtlsConfig.DTLS_CONNECTOR_THREAD_COUNT, 1);
        if (!words[3].equals("-")) {
            settings.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, Integer.parseInt(words[3]));
        }
        if (!words[4].equals("-")) {
            settings.set(DtlsConfig.DTLS_MAX_TRANSMISSION_UNIT, Integer.parseInt(words[4]));
        }
        DtlsConnectorConfig.Builder builder = DtlsConnectorConfig.builder(settings);
        if (words[5].equals("-")) {
            builder.setAdvancedPskStore(
                new AdvancedSinglePskStore("sensor1@DEFAULT_TENANT", "secret1".getBytes(StandardCharsets.UTF_8)));
        } else {
            SslContextUtil.Credentials own = SslContextUtil.loadCredentials(words[5], null, null, null);
            builder.setCertificateIdentityProvider(
                new SingleCertificateProvider(own.getPrivateKey(), own.getCertificateChain(), CertificateType.X_509));
            builder.setAdvancedCertificateVerifier(
                StaticNewAdvancedCertificateVerifier.builder().setTrustAllCertificates().build());
        }
        DTLSConnector connector = new DTLSConnector(builder.build());
        connector.setRawDataReceiver(
            raw -> System.out.println("< " + new String(raw.getBytes(), StandardCharsets.UTF_8)));
        connector.start();
        return connector;
    }
}

// Asks java.security.cert's PKIXRevocationChecker about a certificate a line: its file, its issuer's file, "ocsp" or
// "crl", "nonce" or "-", separated by tabs. Prints a line for each.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.Extension;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

public final class Judge {
    private static final CertificateFactory FACTORY = factory();

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split("\t");
            System.out.println(judge(read(parts[0]), read(parts[1]), parts[2].equals("crl"), parts[3].equals("nonce")));
        }
    }

    private static String judge(X509Certificate leaf, X509Certificate issuer, boolean byCRL, boolean nonce) throws Exception {
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        var checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        var options = EnumSet.of(Option.ONLY_END_ENTITY, Option.NO_FALLBACK);
        if (byCRL) {
            options.add(Option.PREFER_CRLS);
        }
        checker.setOptions(options);
        if (nonce) {
            checker.setOcspExtensions(List.of(new Nonce()));
        }
        var parameters = new PKIXParameters(Set.of(new TrustAnchor(issuer, null)));
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(FACTORY.generateCertPath(List.of(leaf)), parameters);
            return "good";
        } catch (CertPathValidatorException failure) {
            if (failure.getCause() instanceof CertificateRevokedException revoked) {
                String reason = revoked.getRevocationReason().name();
                return reason.equals("UNSPECIFIED") ? "revoked" : "revoked, " + reason;
            }
            Throwable last = failure;
            while (last.getCause() != null) {
                last = last.getCause();
            }
            return last.getMessage() != null && last.getMessage().contains("UNAUTHORIZED") ? "unauthorized"
                : String.valueOf(last).replace('\n', ' ');
        }
    }

    private static X509Certificate read(String file) throws Exception {
        try (var octets = Files.newInputStream(Path.of(file))) {
            return (X509Certificate) FACTORY.generateCertificate(octets);
        }
    }

    private static CertificateFactory factory() {
        try {
            return CertificateFactory.getInstance("X.509");
        } catch (java.security.cert.CertificateException failure) {
            throw new IllegalStateException(failure);
        }
    }

    private static final class Nonce implements Extension {
        private final byte[] value = new byte[18];

        Nonce() {
            byte[] random = new byte[16];
            new SecureRandom().nextBytes(random);
            value[0] = 4; // OCTET STRING
            value[1] = 16;
            System.arraycopy(random, 0, value, 2, 16);
        }

        @Override
        public String getId() {
            return "1.3.6.1.5.5.7.48.1.2";
        }

        @Override
        public boolean isCritical() {
            return false;
        }

        @Override
        public byte[] getValue() {
            return value.clone();
        }

        @Override
        public void encode(OutputStream out) throws IOException {
            byte[] id = {6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2};
            out.write(new byte[] {0x30, (byte) (id.length + 2 + value.length)});
            out.write(id);
            out.write(new byte[] {4, (byte) value.length});
            out.write(value);
        }
    }
}

// Spring: in an application these are spring.mail.host, port, username, password
// and spring.mail.properties.mail.smtp.* of application.properties.
import java.util.Properties;
import org.springframework.mail.SimpleMailMessage;
import org.springframework.mail.javamail.JavaMailSenderImpl;

public class JavaSpring {
    public static void main(String[] args) {
        String mode = System.getenv("MAIL_TLS");
        JavaMailSenderImpl sender = new JavaMailSenderImpl();
        sender.setHost(System.getenv("MAIL_HOST"));
        sender.setPort(Integer.parseInt(System.getenv("MAIL_PORT")));
        Properties p = sender.getJavaMailProperties();
        p.put("mail.smtp.ssl.checkserveridentity", "true");
        if (!mode.equals("none")) {
            sender.setUsername(System.getenv("MAIL_USER"));
            sender.setPassword(System.getenv("MAIL_PASSWORD"));
            p.put("mail.smtp.auth", "true");
            p.put(mode.equals("tls") ? "mail.smtp.ssl.enable" : "mail.smtp.starttls.enable", "true");
            p.put("mail.smtp.starttls.required", String.valueOf(mode.equals("starttls")));
        }
        SimpleMailMessage m = new SimpleMailMessage();
        m.setFrom("app@example.com");
        m.setTo("user@example.com");
        m.setSubject(System.getenv("MAIL_SUBJECT"));
        m.setText("It works.");
        sender.send(m);
    }
}

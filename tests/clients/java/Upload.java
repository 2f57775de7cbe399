// Uploads a picture with Java's HttpClient and its default settings, which offer HTTP/2 (h2c):
//     java Upload.java LENGTH URL PICTURE NAME=VALUE...
// LENGTH is "known" (Content-Length) or "unknown" (chunks). Prints the status, then the body.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

class Upload {
    static final String BOUNDARY = "----JavaBoundary";

    public static void main(String[] arguments) throws Exception {
        byte[] form = form(Path.of(arguments[2]), Stream.of(arguments).skip(3).toList());
        BodyPublisher body = arguments[0].equals("known")
            ? BodyPublishers.ofByteArray(form)
            : BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(form));
        var request = HttpRequest.newBuilder(URI.create(arguments[1] + "/v1/ground"))
            .header("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)
            .POST(body)
            .build();
        var response = HttpClient.newHttpClient().send(request, BodyHandlers.ofLines());
        System.out.println(response.statusCode());
        response.body().forEach(System.out::println);
    }

    static byte[] form(Path picture, Iterable<String> fields) throws Exception {
        var body = new ByteArrayOutputStream();
        for (String field : fields) {
            String[] pair = field.split("=", 2);
            write(body, "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"" + pair[0]
                + "\"\r\n\r\n" + pair[1] + "\r\n");
        }
        write(body, "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"image\"; "
            + "filename=\"" + picture.getFileName() + "\"\r\nContent-Type: "
            + Files.probeContentType(picture) + "\r\n\r\n");
        body.write(Files.readAllBytes(picture));
        write(body, "\r\n--" + BOUNDARY + "--\r\n");
        return body.toByteArray();
    }

    static void write(ByteArrayOutputStream body, String text) throws Exception {
        body.write(text.getBytes(StandardCharsets.UTF_8));
    }
}

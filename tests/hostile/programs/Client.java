// JDK's HttpClient with its defaults: HTTP/2, so the first request says Upgrade: h2c.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.regex.Pattern;

public class Client {
    static final HttpClient HTTP = HttpClient.newHttpClient();

    static String member(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\"?([^\",}]+)").matcher(json);
        if (!found.find()) throw new IllegalStateException("no " + name + " in " + json);
        return found.group(1);
    }

    static HttpResponse<String> post(String url, String body, String... headers) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body));
        for (int i = 0; i < headers.length; i += 2) request.header(headers[i], headers[i + 1]);
        return HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    public static void main(String[] given) throws Exception {
        String api = given[0] + "/api/v1";
        String login = "{\"email\":\"%s\",\"password\":\"%s\"}";
        var registered = post(api + "/auth/register", login.formatted(given[3], given[2]));
        var receiver = Pattern.compile("acc_\\w+").matcher(registered.body());
        receiver.find();
        var session = post(api + "/auth/login", login.formatted(given[1], given[2]));
        var token = "Bearer " + member(session.body(), "access_token");

        String body = "{\"receiver_id\":\"%s\",\"amount\":5,\"description\":\"Größe\"}"
            .formatted(receiver.group());
        String[] headers = {"Authorization", token, "X-Idempotency-Key", given[4]};
        var sent = post(api + "/transactions", body, headers);
        var again = post(api + "/transactions", body, headers);
        // A client of its own: its first request is the POST with the upgrade.
        var fresh = HttpClient.newHttpClient().send(
            HttpRequest.newBuilder(URI.create(api + "/transactions"))
                .header("Content-Type", "application/json").headers(headers)
                .POST(HttpRequest.BodyPublishers.ofString(body)).build(),
            HttpResponse.BodyHandlers.ofString());
        var account = HTTP.send(
            HttpRequest.newBuilder(URI.create(api + "/accounts")).header("Authorization", token)
                .build(),
            HttpResponse.BodyHandlers.ofString());
        if (!fresh.body().equals(sent.body())) throw new IllegalStateException(fresh.body());
        System.out.println(sent.statusCode() + " " + member(sent.body(), "id") + " "
            + again.statusCode() + " " + member(again.body(), "id") + " "
            + member(account.body(), "balance"));
    }
}

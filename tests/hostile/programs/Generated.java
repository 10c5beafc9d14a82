// With the generated Java client: registers, logs in, sends money twice under one key, reads it back.
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.AccountsApi;
import org.openapitools.client.api.AuthApi;
import org.openapitools.client.api.TransactionsApi;
import org.openapitools.client.api.WebhookEndpointsApi;
import org.openapitools.client.model.Login;
import org.openapitools.client.model.MetadataFilter;
import org.openapitools.client.model.Register;
import org.openapitools.client.model.TransactionCreate;
import org.openapitools.client.model.WebhookEndpointCreate;

public class Generated {
    public static void main(String[] given) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri(given[0]);
        AuthApi auth = new AuthApi(client);
        var receiver = auth.registerUser(new Register().email(given[3]).password(given[2]));
        var login = auth.login(new Login().email(given[1]).password(given[2]));
        client.setRequestInterceptor(
            request -> request.header("Authorization", "Bearer " + login.getAccessToken()));

        TransactionsApi transactions = new TransactionsApi(client);
        var order = new TransactionCreate().amount(3_000_000_000L)
            .receiverId(receiver.getAccount().getId()).description("Größe, 大")
            .metadata(Map.of("order", given[4]));
        var sent = transactions.createTransaction(order, null, given[4]);
        var again = transactions.createTransaction(order, null, given[4]);
        var filter = new MetadataFilter().order(given[4]);
        var page = transactions.listTransactions(
            1, null, null, null, null, null, null, null, null, null, null, filter, null);
        var account = new AccountsApi(client).retrieveAccount();

        WebhookEndpointsApi endpoints = new WebhookEndpointsApi(client);
        var made = endpoints.createWebhookEndpoint(
            new WebhookEndpointCreate().url("https://example.com/hook").eventTypes(List.of("*")));
        var read = endpoints.retrieveWebhookEndpoint(made.getId());

        System.out.println(String.join(" ", sent.getId(), again.getId(),
            page.getData().get(0).getId(), account.getBalance().toString(), made.getId(),
            read.getId()));
    }
}

// With the generated Go client: registers, logs in, sends money twice under one key, reads it back.
package main

import (
	"context"
	"fmt"
	"os"

	"finpay"
)

func must[T any](value T, response any, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err, response)
		os.Exit(1)
	}
	return value
}

func main() {
	url, email, password, newEmail, key := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	configuration := finpay.NewConfiguration()
	configuration.Servers = finpay.ServerConfigurations{{URL: url}}
	client := finpay.NewAPIClient(configuration)
	anonymous := context.Background()

	registration := *finpay.NewRegister(newEmail, password)
	receiver := must(client.AuthAPI.RegisterUser(anonymous).Register(registration).Execute())
	login := must(client.AuthAPI.Login(anonymous).Login(*finpay.NewLogin(email, password)).Execute())
	user := context.WithValue(anonymous, finpay.ContextAccessToken, login.AccessToken)

	order := *finpay.NewTransactionCreate(3_000_000_000)
	order.SetReceiverId(receiver.Account.Id)
	order.SetDescription("Größe, 大")
	order.SetMetadata(map[string]string{"order": key})
	send := client.TransactionsAPI.CreateTransaction(user).XIdempotencyKey(key).TransactionCreate(order)
	filter := finpay.MetadataFilter{Order: &key}
	sent := must(send.Execute())
	again := must(send.Execute())
	page := must(client.TransactionsAPI.ListTransactions(user).Limit(1).Metadata(filter).Execute())
	account := must(client.AccountsAPI.RetrieveAccount(user).Execute())

	wanted := *finpay.NewWebhookEndpointCreate("https://example.com/hook", []string{"*"})
	made := must(client.WebhookEndpointsAPI.CreateWebhookEndpoint(user).WebhookEndpointCreate(wanted).Execute())
	read := must(client.WebhookEndpointsAPI.RetrieveWebhookEndpoint(user, made.Id).Execute())

	fmt.Println(sent.Id, again.Id, page.Data[0].Id, account.Balance, made.Id, read.Id)
}

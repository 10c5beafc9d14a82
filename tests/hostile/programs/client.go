// net/http, with a body of known length and with a reader, which is sent in chunks with a trailer.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

type members map[string]any

var token string

func call(method, url string, body io.Reader, headers map[string]string, trailer http.Header) (int, members) {
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Trailer = trailer
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	answer := members{}
	decoder := json.NewDecoder(response.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		panic(err)
	}
	return response.StatusCode, answer
}

func main() {
	api, email, password, newEmail, key := os.Args[1]+"/api/v1", os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	login := func(email string) io.Reader {
		text, _ := json.Marshal(members{"email": email, "password": password})
		return strings.NewReader(string(text))
	}
	_, registered := call("POST", api+"/auth/register", login(newEmail), nil, nil)
	_, session := call("POST", api+"/auth/login", login(email), nil, nil)
	token = session["access_token"].(string)

	receiver := registered["account"].(map[string]any)["id"]
	text, _ := json.Marshal(members{"receiver_id": receiver, "amount": 5, "description": "Größe"})
	headers := map[string]string{"X-Idempotency-Key": key}
	status, sent := call("POST", api+"/transactions", strings.NewReader(string(text)), headers, nil)
	reader := io.MultiReader(strings.NewReader(string(text[:9])), strings.NewReader(string(text[9:])))
	trailer := http.Header{"X-Idempotency-Key": {"of-a-trailer"}}
	statusAgain, again := call("POST", api+"/transactions", reader, headers, trailer)
	_, account := call("GET", api+"/accounts", nil, nil, nil)
	fmt.Println(status, sent["id"], statusAgain, again["id"], account["balance"])
}

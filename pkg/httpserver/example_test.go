package httpserver_test

import (
	"encoding/json"
	"fmt"

	"recourse.dev/pkg/httpserver"
)

// A handler returns a problem as its error; the server sends it.
func ExampleNewProblem() {
	err := httpserver.NewProblem(httpserver.CodeOrderNotFound, "There is no order 17.",
		httpserver.WithExtra("order_id", "17"))
	document, _ := json.MarshalIndent(err, "", "  ")
	fmt.Println(string(document))
	// Output:
	// {
	//   "code": "order_not_found",
	//   "detail": "There is no order 17.",
	//   "order_id": "17",
	//   "status": 404,
	//   "title": "There is no such order",
	//   "type": "https://recourse.dev/problems/order_not_found"
	// }
}

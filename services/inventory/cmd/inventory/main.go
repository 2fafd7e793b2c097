// Command inventory is the inventory participant. Run it without arguments for its subcommands.
package main

import (
	"recourse.dev/pkg/service"
	"recourse.dev/services/inventory"
)

func main() {
	service.Main("inventory", service.Program[inventory.Config]{
		HTTPAddr: "127.0.0.1:8081",
		Serve:    inventory.Serve,
		Migrate:  inventory.Migrate,
	})
}

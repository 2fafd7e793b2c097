module recourse.dev/services/inventory

go 1.26.0

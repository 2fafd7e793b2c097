module recourse.dev/services/shipping

go 1.26.0

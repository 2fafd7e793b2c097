module recourse.dev/coordinator

go 1.26.0

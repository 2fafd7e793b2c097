package mailsink

import (
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strconv"

	"recourse.dev/pkg/sandbox"
)

const (
	defaultPage = 50
	maxPage     = 1000
)

//go:embed page
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page/*.html"))

// What a browser may load. The pages have no script at all; a mail's own HTML may show itself and nothing else, and
// the sandbox takes away its scripts, forms and origin.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'"
	bodyPolicy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showList)
	mux.HandleFunc("GET /mails/{id}", s.showMail)
	mux.HandleFunc("GET /mails/{id}/body", s.showBody)
	mux.HandleFunc("GET /mails/{id}/raw", s.showRaw)
	mux.HandleFunc("GET /page/style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "page/style.css")
	})
	mux.HandleFunc("GET /v1/mails", s.listMails)
	mux.HandleFunc("GET /v1/mails/{id}", s.getMail)
	mux.HandleFunc("DELETE /v1/mails", s.clearMails)
	sandbox.Health(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", pagePolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) listMails(w http.ResponseWriter, r *http.Request) {
	query, limit := r.URL.Query(), defaultPage
	for name := range query {
		// A misspelt filter that is ignored would count everybody's mails.
		if !slices.Contains([]string{"to", "message_id", "order", "limit"}, name) {
			refuse(w, http.StatusBadRequest, "There is no parameter "+name+".")
			return
		}
	}
	if text := query.Get("limit"); text != "" {
		wanted, err := strconv.Atoi(text)
		if err != nil || wanted < 1 || wanted > maxPage {
			refuse(w, http.StatusBadRequest, "limit wants 1 to 1000.")
			return
		}
		limit = wanted
	}
	to, messageID, order := query.Get("to"), query.Get("message_id"), query.Get("order")
	mails, more := s.store.list(func(m Mail) bool {
		return (to == "" || slices.Contains(m.To, to)) && (messageID == "" || m.MessageID == messageID) &&
			(order == "" || m.OrderID == order)
	}, limit)
	sandbox.Respond(w, map[string]any{"mails": mails, "has_more": more})
}

func (s *Server) getMail(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.store.find(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusNotFound, "There is no such mail.")
		return
	}
	sandbox.Respond(w, mail)
}

func (s *Server) clearMails(w http.ResponseWriter, r *http.Request) {
	if err := s.store.clear(); err != nil {
		s.log.ErrorContext(r.Context(), "mails were not all forgotten", "error", err)
		refuse(w, http.StatusInternalServerError, "Not all files could be removed.")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) showList(w http.ResponseWriter, r *http.Request) {
	mails, more := s.store.list(func(Mail) bool { return true }, defaultPage)
	s.render(w, r, "list.html", map[string]any{"Mails": mails, "More": more, "SMTPAddr": s.SMTPAddr()})
}

func (s *Server) showMail(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.store.find(r.PathValue("id"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.render(w, r, "mail.html", mail)
}

// showBody serves a mail's own HTML, for the frame in its page.
func (s *Server) showBody(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.store.find(r.PathValue("id"))
	if !ok || mail.HTML == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", bodyPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(mail.HTML))
}

func (s *Server) showRaw(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.store.find(r.PathValue("id"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(mail.raw)
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		s.log.DebugContext(r.Context(), "page was not sent whole", "page", name, "error", err)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(sandbox.JSON(status, map[string]any{"error": map[string]string{"message": message}}).Body)
}

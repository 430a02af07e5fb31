// Package deploy renders the Helm chart with Helm's own library and holds the
// result, and the plain manifest, against the schemas of Kubernetes and of the
// Gateway API.
package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	strict "sigs.k8s.io/yaml"
)

const root = "../../"

// everything turns on all that the chart has.
const everything = `
model: nvidia/NVIDIA-Nemotron-Nano-9B-v2
servedModelNames: [nano, nano-9b]
gpus: 2
replicas: 3
server: {context: 32768, extraArgs: ["--request-timeout=10m"], env: [{name: A, value: b}]}
apiKeys: {existingSecret: keys}
models: {enabled: true, storageClass: fast}
huggingFace: {existingSecret: token}
autoscaling: {enabled: true}
inferencePool: {enabled: true, httpRoute: {enabled: true, hostnames: [llm.example], gatewayNamespace: gateways}}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
imagePullSecrets: [{name: pull}]
service: {annotations: {a: b}}
podAnnotations: {a: b}
podLabels: {team: birds}
nodeSelector: {gpu: h200}
tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
affinity: {podAntiAffinity: {}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
`

// object is one document of a manifest.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	raw      []byte
}

// render returns the chart's objects with values over its own.
func render(t *testing.T, values string) []object {
	t.Helper()
	chart, err := loader.Load(root + "deploy/helm/godwit")
	if err != nil {
		t.Fatal(err)
	}
	given, err := common.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: "prod", Namespace: "llm", IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, merged)
	if err != nil {
		t.Fatal(err)
	}
	var list []object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			list = append(list, split(t, []byte(files[name]))...)
		}
	}
	return list
}

// split takes a manifest apart.
func split(t *testing.T, data []byte) []object {
	t.Helper()
	var list []object
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		var o object
		if err := strict.Unmarshal(doc, &o); err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		if o.Kind != "" {
			o.raw = doc
			list = append(list, o)
		}
	}
}

// manifests are all that is checked.
func manifests(t *testing.T) map[string][]object {
	t.Helper()
	plain, err := os.ReadFile(root + "deploy/kubernetes/godwit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]object{"defaults": render(t, ""), "everything": render(t, everything), "plain": split(t, plain)}
}

// TestObjects: each variant has what it should have, and no more.
func TestObjects(t *testing.T) {
	want := map[string]string{
		"defaults":   "Deployment PodDisruptionBudget Service ServiceAccount",
		"everything": "ConfigMap Deployment HTTPRoute HorizontalPodAutoscaler InferencePool PersistentVolumeClaim PodDisruptionBudget Service ServiceAccount ServiceMonitor",
		"plain":      "Deployment PersistentVolumeClaim PodDisruptionBudget Service",
	}
	for name, list := range manifests(t) {
		var kinds []string
		for _, o := range list {
			kinds = append(kinds, o.Kind)
		}
		slices.Sort(kinds)
		if got := strings.Join(kinds, " "); got != want[name] {
			t.Errorf("%s: got %s, want %s", name, got, want[name])
		}
	}
}

// TestKubernetes validates against the schemas of Kubernetes itself.
func TestKubernetes(t *testing.T) {
	program := root + "build/clients/bin/kubernetes-validate"
	if _, err := os.Stat(program); err != nil {
		t.Skip("kubernetes-validate is not there: see .ci/run")
	}
	var files []string
	for name, list := range manifests(t) {
		for _, o := range list {
			switch o.Kind {
			case "InferencePool", "HTTPRoute", "ServiceMonitor": // not Kubernetes' own
				continue
			}
			file := filepath.Join(t.TempDir(), name+"-"+o.Kind+".yaml")
			if err := os.WriteFile(file, o.raw, 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	for _, version := range []string{"1.30", "1.37"} {
		if out, err := exec.Command(program, append([]string{"--strict", "-k", version}, files...)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", version, err, out)
		}
	}
}

// TestExtensions validates the kinds that others define.
func TestExtensions(t *testing.T) {
	found := 0
	for _, o := range render(t, everything) {
		switch o.Kind {
		case "HTTPRoute":
			var route gatewayv1.HTTPRoute
			if err := strict.UnmarshalStrict(o.raw, &route); err != nil {
				t.Error(err)
			}
			if ref := route.Spec.Rules[0].BackendRefs[0]; *ref.Kind != "InferencePool" || ref.Name != "prod-godwit" {
				t.Errorf("got %+v, want the pool", ref)
			}
		case "InferencePool", "ServiceMonitor":
			schema, err := jsonschema.NewCompiler().Compile("testdata/" + o.Kind + ".json")
			if err != nil {
				t.Fatal(err)
			}
			data, err := strict.YAMLToJSON(o.raw)
			if err != nil {
				t.Fatal(err)
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err == nil {
				err = schema.Validate(v)
			}
			if err != nil {
				t.Errorf("%s: %v", o.Kind, err)
			}
		default:
			continue
		}
		found++
	}
	if found != 3 {
		t.Errorf("got %d kinds, want 3", found)
	}
}

// deployment returns the one deployment of a manifest.
func deployment(t *testing.T, list []object) appsv1.Deployment {
	t.Helper()
	for _, o := range list {
		if o.Kind == "Deployment" {
			var d appsv1.Deployment
			if err := strict.UnmarshalStrict(o.raw, &d); err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatal("there is no deployment")
	return appsv1.Deployment{}
}

// TestDeployment: what Kubernetes is told fits what the server does.
func TestDeployment(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "godwit")
	build := exec.Command("go", "build", "-o", binary, "./cmd/godwit")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, list := range manifests(t) {
		d := deployment(t, list)
		pod := d.Spec.Template.Spec
		c := pod.Containers[0]
		if out, err := exec.Command(binary, append(c.Args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		drain := seconds(t, c, "--drain-delay=") + seconds(t, c, "--drain-timeout=")
		if got := *pod.TerminationGracePeriodSeconds; got < drain+5 {
			t.Errorf("%s: Kubernetes waits %d s, the server may take %d", name, got, drain)
		}
		for probe, path := range map[*corev1.Probe]string{c.StartupProbe: "/health", c.LivenessProbe: "/health", c.ReadinessProbe: "/ready"} {
			if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != c.Ports[0].Name {
				t.Errorf("%s: got a probe of %+v, want %s", name, probe.HTTPGet, path)
			}
		}
		for key, value := range d.Spec.Selector.MatchLabels {
			if d.Spec.Template.Labels[key] != value {
				t.Errorf("%s: the selector %s=%s does not find the pods", name, key, value)
			}
		}
	}
	gpu := deployment(t, render(t, everything)).Spec.Template.Spec.Containers[0]
	if n := gpu.Resources.Limits["nvidia.com/gpu"]; n.Value() != 2 || gpu.Resources.Requests.Cpu().IsZero() {
		t.Errorf("got %+v, want 2 GPUs beside the requests", gpu.Resources)
	}
}

func seconds(t *testing.T, c corev1.Container, flag string) int64 {
	t.Helper()
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, flag); ok {
			n := json.Number(strings.TrimSuffix(value, "s"))
			if i, err := n.Int64(); err == nil {
				return i
			}
		}
	}
	t.Fatalf("%s is missing in %q", flag, c.Args)
	return 0
}
